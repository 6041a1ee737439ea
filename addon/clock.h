// Time and waiting, on CLOCK_MONOTONIC.
#pragma once

#include <cstdint>
#include <span>

namespace kemari {

int64_t monotonic_ns();

// Waits until one of the descriptors is readable or has hung up; false when the deadline passed first.
bool wait_readable(std::span<const int> fds, int64_t deadline_ns);

}  // namespace kemari
