// How a lease's clock and the clock of waiting meet.
#pragma once

#include <chrono>

#include "link/boot_clock.h"
#include "link/connection.h"

namespace kemari {

// The waiting clock's time at which `when` comes, as far as can be known now.
inline LinkClock::time_point waiting_until(BootClock::time_point when) noexcept {
  return LinkClock::now() + std::chrono::ceil<LinkClock::duration>(when - BootClock::now());
}

}  // namespace kemari
