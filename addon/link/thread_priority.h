// Which of the link's threads run before others.
#pragma once

namespace kemari {

// Lets the calling thread run before others where the host allows that (it needs CAP_SYS_NICE); `nice` as in nice(2).
void prefer_this_thread(int nice) noexcept;

// A renewal that waits for a processor is a lease lost for nothing.
inline constexpr int kLeaseNice = -15;
// A guest's output waits for the epoch that covers it; a processor is better spent on that than on the guest.
inline constexpr int kStreamNice = -10;

}  // namespace kemari
