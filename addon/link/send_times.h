// What each epoch's time goes into from the capture's handing over to the standby's ACK.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "link/connection.h"

namespace kemari {

// Parts of one epoch's way, one after another.
struct EpochWay {
  std::chrono::nanoseconds encode{0};  // making it smaller: the encoder's own time
  std::chrono::nanoseconds send{0};    // all else until the socket had its last byte: waiting, encrypting, copying
  std::chrono::nanoseconds ack{0};     // until the ACK was heard
  LinkClock::time_point heard{};
};

// Any thread.
class SendTimes {
 public:
  // From the COMMIT's way to the socket to the ACK.
  struct Summary {
    std::chrono::nanoseconds last{0};
    std::chrono::nanoseconds p50{0};
    std::chrono::nanoseconds p99{0};
  };

  void submitted(uint64_t epoch);
  void encoded(uint64_t epoch, std::chrono::nanoseconds took);
  void committed(uint64_t epoch);
  // The ACK may be heard before its sender comes to say this.
  void sent(uint64_t epoch);
  // Of this epoch; those before it that had no ack of their own do not count. Nullopt: it is not known any more.
  std::optional<EpochWay> acked(uint64_t epoch);
  Summary summary();

 private:
  static constexpr size_t kEpochs = 256;    // on their way; of more only the newest are timed
  static constexpr size_t kSamples = 1000;  // that the summary is of

  struct OnItsWay {
    uint64_t epoch = 0;
    LinkClock::time_point submitted{};
    std::chrono::nanoseconds encode{0};
    LinkClock::time_point committed{};
    std::optional<LinkClock::time_point> sent;
  };

  // With mutex_ held. Null: not known any more.
  OnItsWay* find(uint64_t epoch);

  std::mutex mutex_;
  std::array<OnItsWay, kEpochs> on_their_way_{};
  std::vector<std::chrono::nanoseconds> samples_;
  size_t next_sample_ = 0;
  std::chrono::nanoseconds last_{0};
};

}  // namespace kemari
