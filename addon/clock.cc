#include "clock.h"

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <array>

#include "error.h"

namespace kemari {

constexpr int64_t kNsPerSecond = 1'000'000'000;

int64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

bool wait_readable(std::span<const int> fds, int64_t deadline_ns) {
  constexpr size_t kMaxFds = 4;
  std::array<pollfd, kMaxFds> entries;
  KEMARI_ASSERT(fds.size() <= kMaxFds);
  for (size_t i = 0; i < fds.size(); i++) entries[i] = {fds[i], POLLIN, 0};
  while (true) {
    const int64_t left = std::max<int64_t>(0, deadline_ns - monotonic_ns());
    const timespec timeout{left / kNsPerSecond, left % kNsPerSecond};
    const int ready = ppoll(entries.data(), fds.size(), &timeout, nullptr);
    if (ready > 0) return true;
    if (ready == 0) return false;
    KEMARI_ASSERT(errno == EINTR);
  }
}

}  // namespace kemari
