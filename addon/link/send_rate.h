// How fast the link takes bytes.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "link/connection.h"

namespace kemari {

class SendRate {
 public:
  // `bytes` went to the socket within `took`, waiting included. One thread at a time.
  void note(uint64_t bytes, std::chrono::nanoseconds took) {
    if (bytes >= kTelling) {
      const double now = static_cast<double>(took.count()) / static_cast<double>(bytes);
      const double known = ns_per_byte_.load(std::memory_order_relaxed);
      ns_per_byte_.store(known == 0 ? now : known + (now - known) * kNewShare, std::memory_order_relaxed);
    }
    const std::lock_guard lock(mutex_);
    roll();
    window_bytes_ += bytes;
  }

  // What a byte costs; 0 until that is known.
  double ns_per_byte() const noexcept { return ns_per_byte_.load(std::memory_order_relaxed); }

  // Over the last one to two seconds.
  double bytes_per_second() {
    const std::lock_guard lock(mutex_);
    roll();
    const std::chrono::duration<double> elapsed = LinkClock::now() - window_start_ + last_length_;
    return static_cast<double>(window_bytes_ + last_bytes_) / std::max(elapsed.count(), kShortest);
  }

 private:
  static constexpr uint64_t kTelling = 4096;  // less says more of system calls than of the link
  static constexpr double kNewShare = 1.0 / 16;
  static constexpr double kShortest = 1e-3;
  static constexpr std::chrono::seconds kWindow{1};

  void roll() {
    const LinkClock::time_point now = LinkClock::now();
    if (now - window_start_ < kWindow) return;
    const bool is_old = now - window_start_ >= 2 * kWindow;
    last_bytes_ = is_old ? 0 : window_bytes_;
    last_length_ = is_old ? LinkClock::duration::zero() : now - window_start_;
    window_bytes_ = 0;
    window_start_ = now;
  }

  std::atomic<double> ns_per_byte_{0};
  std::mutex mutex_;
  LinkClock::time_point window_start_ = LinkClock::now();
  LinkClock::duration last_length_{0};
  uint64_t window_bytes_ = 0;
  uint64_t last_bytes_ = 0;
};

}  // namespace kemari
