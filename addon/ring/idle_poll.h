// How long a ring thread looks for work before it sleeps. Waking a sleeper costs its waker and the guest more than most
// requests take; looking costs CPU time. So it looks only while that pays.
#pragma once

#include <sched.h>
#include <time.h>

#include <cstdint>

namespace kemari {

// Adapts as halt polling in KVM does: a wait that looking would have covered makes it look longer, up to kLongest; one
// that is longer than that ends it. And it gives way: where the thread loses the CPU while it looks, somebody needs
// that CPU more than this does.
class IdlePoll {
 public:
  static constexpr int64_t kShortestNs = 8'000;
  // A disk's answer, or what an emulated guest needs between an answer and its next request.
  static constexpr int64_t kLongestNs = 200'000;
  // Two looks in a row that are further apart had somebody else run in between.
  static constexpr int64_t kStolenNs = 50'000;
  // After that, so many waits go without looking.
  static constexpr uint32_t kWaitsAfterStolen = 256;
  // The same after a batch.
  static constexpr uint32_t kWaitsAfterBatch = 16;

  // Looks until found() is true or the time is over; true when it was. Begins a wait: without success, slept() ends it.
  template <typename Found>
  bool look(Found&& found) noexcept {
    began_ns_ = now_ns();
    if (waits_without_ > 0) {
      waits_without_--;
      return false;
    }
    if (budget_ns_ == 0) return false;
    int64_t last_ns = began_ns_;
    while (true) {
      for (uint32_t i = 0; i < kLooksPerClock; i++) {
        if (found()) return true;
        __builtin_ia32_pause();
      }
      // Politely: whoever waits for this CPU, QEMU perhaps, gets it.
      sched_yield();
      const int64_t at_ns = now_ns();
      if (at_ns - last_ns > kStolenNs) {
        waits_without_ = kWaitsAfterStolen;
        budget_ns_ = 0;
        return false;
      }
      if (at_ns - began_ns_ >= budget_ns_) return false;
      last_ns = at_ns;
    }
  }

  // Many requests at once share the cost of one wake-up, and the CPU is better left to who makes or takes them.
  void met_a_batch() noexcept {
    if (waits_without_ < kWaitsAfterBatch) waits_without_ = kWaitsAfterBatch;
  }

  // The wait that look() began ended after all, by sleeping.
  void slept() noexcept {
    const int64_t waited_ns = now_ns() - began_ns_;
    if (waited_ns > kLongestNs) {
      budget_ns_ = 0;
    } else if (waited_ns > budget_ns_) {
      budget_ns_ = budget_ns_ == 0 ? kShortestNs : budget_ns_ * 2;
      if (budget_ns_ > kLongestNs) budget_ns_ = kLongestNs;
    }
  }

 private:
  static constexpr uint32_t kLooksPerClock = 16;

  static int64_t now_ns() noexcept {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }

  int64_t budget_ns_ = 0;
  int64_t began_ns_ = 0;
  uint32_t waits_without_ = 0;
};

}  // namespace kemari
