// What both sides' lease threads have in common.
#pragma once

#include <chrono>

#include "link/boot_clock.h"
#include "link/connection.h"

namespace kemari {

// The waiting clock's time at which `when` comes, as far as can be known now.
inline LinkClock::time_point waiting_until(BootClock::time_point when) noexcept {
  return LinkClock::now() + std::chrono::ceil<LinkClock::duration>(when - BootClock::now());
}

// Lets the calling thread run before others where the host allows that: a renewal that waits for a processor is a lease
// lost for nothing.
void prefer_this_thread() noexcept;

}  // namespace kemari
