// A QMP connection of the capture's own: no event loop of JavaScript stands between a command and QEMU, and a command
// can be sent ahead so that one byte more carries it out.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "unique_fd.h"

namespace kemari {

// Used by one thread. Every method throws KEMARI_CAPTURE_GONE when QEMU hangs up.
class QmpMonitor {
 public:
  // `socket`: connected, nothing said yet.
  explicit QmpMonitor(UniqueFd socket);

  // For poll(): readable when there is something for next().
  int fd() const noexcept { return socket_.get(); }

  // Once, first. Throws KEMARI_CAPTURE_REFUSED for what is no QMP, or is silent.
  void negotiate();

  // Gives QEMU a descriptor, which stays ours as well; returns the path that QEMU opens it by. Throws
  // KEMARI_CAPTURE_REFUSED.
  std::string add_descriptor(int fd);
  // Takes it back. Throws KEMARI_CAPTURE_REFUSED.
  void remove_descriptor(const std::string& path);

  // Sends a command, all but its last byte: QEMU reads its monitors a byte a turn of its main loop.
  void prime(const std::string& name, const std::string& arguments);
  bool is_primed() const noexcept { return primed_ != 0; }
  // Sends that byte. The answer comes out of next().
  void trigger();
  // Takes back what was primed.
  void cancel();

  struct Message {
    enum class Kind : uint8_t { kEvent = 1, kReturn = 2, kError = 3 };
    Kind kind;
    std::string text;  // event: its name; return: its value; error: its description
    uint64_t id;       // of the command; 0 for events, and for errors that belong to none
  };
  // The next message that has come, or nothing. Does not block.
  std::optional<Message> next();
  // As next(), but waits. Nothing when the deadline (CLOCK_MONOTONIC, nanoseconds) passed first.
  std::optional<Message> next_before(int64_t deadline_ns);

  uint64_t last_command() const noexcept { return last_id_; }

 private:
  std::string execute(const std::string& name, const std::string& arguments, int passed_fd = -1);
  std::string command(const std::string& name, const std::string& arguments);
  void send(const std::string& bytes, int passed_fd = -1);
  bool read_some();
  [[noreturn]] void hung_up() const;

  UniqueFd socket_;
  std::string received_;
  uint64_t last_id_ = 0;
  uint64_t primed_ = 0;  // the id of the command that lacks its last byte; 0: none
};

}  // namespace kemari
