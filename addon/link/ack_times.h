// How long the standby takes to acknowledge: from the COMMIT's way to the socket to the ACK.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

#include "link/connection.h"

namespace kemari {

// Any thread.
class AckTimes {
 public:
  struct Summary {
    std::chrono::nanoseconds last{0};
    std::chrono::nanoseconds p50{0};
    std::chrono::nanoseconds p99{0};
  };

  void committed(uint64_t epoch);
  // Of this epoch; those before it that had no ack of their own do not count.
  void acked(uint64_t epoch);
  Summary summary();

 private:
  static constexpr size_t kEpochs = 256;    // on their way; of more only the newest are timed
  static constexpr size_t kSamples = 1000;  // that the summary is of

  struct Sent {
    uint64_t epoch = 0;
    LinkClock::time_point at{};
  };
  std::mutex mutex_;
  std::array<Sent, kEpochs> sent_{};
  std::vector<std::chrono::nanoseconds> samples_;
  size_t next_sample_ = 0;
  std::chrono::nanoseconds last_{0};
};

}  // namespace kemari
