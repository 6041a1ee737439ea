// The one way in which the addon reports that something went wrong: whoever is at fault other than kemari itself (the
// guest, the peer, a file, the host) becomes an Error with a stable code; our own mistakes end the process.
#pragma once

#include <cerrno>
#include <stdexcept>
#include <string>

namespace kemari {

// A failure with a stable code (`KEMARI_...`). `error_number` and `system_call` are 0 and empty when no system call
// failed.
class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message, int error_number = 0, std::string system_call = {});

  const std::string& code() const noexcept { return code_; }
  int error_number() const noexcept { return error_number_; }
  const std::string& system_call() const noexcept { return system_call_; }

 private:
  std::string code_;
  int error_number_;
  std::string system_call_;
};

// Throws Error. `message` says what failed, what was found, what was expected and what to do.
[[noreturn]] void fail(const char* code, const std::string& message);

// Throws Error for a failed system call and appends its errno's text to `message`.
[[noreturn]] void fail_errno(const char* code, const char* system_call, const std::string& message,
                             int error_number = errno);

// Ends the process: an invariant of our own does not hold. Safe, because nothing unacknowledged was released.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace kemari

#define KEMARI_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::kemari::assertion_failed(#expression, __FILE__, __LINE__))
