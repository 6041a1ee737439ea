#include "link/ack_times.h"

#include <algorithm>

namespace kemari {

void AckTimes::committed(uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  sent_[epoch % kEpochs] = {epoch, LinkClock::now()};
}

void AckTimes::acked(uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  const Sent& sent = sent_[epoch % kEpochs];
  if (sent.epoch != epoch) return;
  last_ = LinkClock::now() - sent.at;
  if (samples_.size() < kSamples) {
    samples_.push_back(last_);
  } else {
    samples_[next_sample_] = last_;
    next_sample_ = (next_sample_ + 1) % kSamples;
  }
}

AckTimes::Summary AckTimes::summary() {
  std::vector<std::chrono::nanoseconds> sorted;
  Summary summary;
  {
    const std::lock_guard lock(mutex_);
    if (samples_.empty()) return summary;
    sorted = samples_;
    summary.last = last_;
  }
  std::sort(sorted.begin(), sorted.end());
  summary.p50 = sorted[sorted.size() / 2];
  summary.p99 = sorted[sorted.size() * 99 / 100];
  return summary;
}

}  // namespace kemari
