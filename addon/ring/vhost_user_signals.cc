#include "ring/vhost_user_signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "error.h"

namespace kemari {

// Adds one to an eventfd. It fails only where the counter is full, that is, where the other side has events to read.
static void signal(const UniqueFd& fd) {
  const uint64_t one = 1;
  if (fd.valid() && write(fd.get(), &one, sizeof one) < 0) return;
}

void VhostUserSignals::drain_kicks() const {
  uint64_t count;
  if (read(kick.get(), &count, sizeof count) < 0) return;  // there were none
}

void VhostUserSignals::set_call(UniqueFd fd) {
  call = std::move(fd);
  if (call.valid() && std::exchange(call_missed, false)) signal(call);
}

void VhostUserSignals::call_driver() {
  signal(call);
  call_missed = !call.valid();
}

void VhostUserSignals::report_error() const {
  signal(error);
}

void check_eventfd(const UniqueFd& fd) {
  std::array<char, 64> link;
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  const ssize_t length = readlink(path.c_str(), link.data(), link.size());
  if (length < 0) fail_errno("KEMARI_VHOST_USER_FDS", "readlink", "cannot examine a file descriptor");
  if (std::string_view(link.data(), static_cast<size_t>(length)) != "anon_inode:[eventfd]") {
    fail("KEMARI_VHOST_USER_FDS", "the file descriptor of a queue is not an eventfd");
  }
  const int flags = fcntl(fd.get(), F_GETFL);
  if ((flags & O_NONBLOCK) == 0 && fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    fail_errno("KEMARI_VHOST_USER_FDS", "fcntl", "cannot make an eventfd non-blocking");
  }
}

}  // namespace kemari
