// CLOCK_BOOTTIME: goes on while the host sleeps, so that a lease does not outlive a suspended laptop.
#pragma once

#include <time.h>

#include <chrono>
#include <cstdint>

namespace kemari {

struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;

  static time_point now() noexcept {
    timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return time_point(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
  }
};

}  // namespace kemari
