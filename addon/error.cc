#include "error.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace kemari {

Error::Error(std::string code, const std::string& message, int error_number, std::string system_call)
    : std::runtime_error(message),
      code_(std::move(code)),
      error_number_(error_number),
      system_call_(std::move(system_call)) {}

void fail(const char* code, const std::string& message) {
  throw Error(code, message);
}

void fail_errno(const char* code, const char* system_call, const std::string& message, int error_number) {
  throw Error(code, message + ": " + std::strerror(error_number) + " (" + system_call + ")", error_number, system_call);
}

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "kemari: assertion failed: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace kemari
