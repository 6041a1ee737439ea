#include "link/send_times.h"

#include <algorithm>

namespace kemari {

SendTimes::OnItsWay* SendTimes::find(uint64_t epoch) {
  OnItsWay& known = on_their_way_[epoch % kEpochs];
  return known.epoch == epoch ? &known : nullptr;
}

void SendTimes::submitted(uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  on_their_way_[epoch % kEpochs] = {.epoch = epoch, .submitted = LinkClock::now(), .sent = {}};
}

void SendTimes::encoded(uint64_t epoch, std::chrono::nanoseconds took) {
  const std::lock_guard lock(mutex_);
  if (OnItsWay* known = find(epoch)) known->encode = took;
}

void SendTimes::committed(uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (OnItsWay* known = find(epoch)) known->committed = LinkClock::now();
}

void SendTimes::sent(uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (OnItsWay* known = find(epoch)) known->sent = LinkClock::now();
}

std::optional<EpochWay> SendTimes::acked(uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  const OnItsWay* known = find(epoch);
  if (known == nullptr) return std::nullopt;
  const LinkClock::time_point now = LinkClock::now();
  last_ = now - known->committed;
  if (samples_.size() < kSamples) {
    samples_.push_back(last_);
  } else {
    samples_[next_sample_] = last_;
    next_sample_ = (next_sample_ + 1) % kSamples;
  }
  const LinkClock::time_point sent = known->sent.value_or(now);
  const std::chrono::nanoseconds encode = std::min<std::chrono::nanoseconds>(known->encode, sent - known->submitted);
  return EpochWay{.encode = encode, .send = sent - known->submitted - encode, .ack = now - sent, .heard = now};
}

SendTimes::Summary SendTimes::summary() {
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
