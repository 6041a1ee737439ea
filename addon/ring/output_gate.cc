#include "ring/output_gate.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "error.h"
#include "memory/dirty_bitmap.h"

namespace kemari {

GateLane::GateLane(std::shared_ptr<OutputGate> gate, std::function<void()> wake)
    : gate_(std::move(gate)), wake_(std::move(wake)) {
  const std::lock_guard lock(gate_->lanes_mutex_);
  gate_->lanes_.push_back(this);
}

GateLane::~GateLane() {
  const std::lock_guard lock(gate_->lanes_mutex_);
  std::erase(gate_->lanes_, this);
}

bool GateLane::admit(Outbound& request) {
  // The number first, then the question: whoever closes the gate and then reads last_sequence() covers all that passed.
  request.sequence = gate_->last_.fetch_add(1) + 1;
  if (first_ == held_.size() && gate_->is_open()) {
    gate_->passed_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  held_.push_back(&request);
  gate_->held_.fetch_add(1, std::memory_order_relaxed);
  // Opened between the question and the hold: nobody would wake this lane again.
  if (gate_->may_leave(request.sequence)) wake_();
  return false;
}

Outbound* GateLane::next_released() {
  if (first_ == held_.size()) return nullptr;
  Outbound* request = held_[first_];
  if (!gate_->may_leave(request->sequence)) return nullptr;
  first_++;
  if (first_ == held_.size()) {
    held_.clear();
    first_ = 0;
  } else if (first_ > held_.size() / 2) {
    held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
  gate_->released_.fetch_add(1, std::memory_order_relaxed);
  return request;
}

void GateLane::freeze() {
  for (Outbound* request : held()) {
    if (request->is_frozen) continue;
    size_t total = 0;
    for (const iovec& piece : request->bytes) total += piece.iov_len;
    if (total != 0) {
      const size_t rounded = (total + kPageBytes - 1) / kPageBytes * kPageBytes;
      request->frozen.reset(static_cast<uint8_t*>(std::aligned_alloc(kPageBytes, rounded)));
      if (request->frozen == nullptr) throw std::bad_alloc();
      size_t at = 0;
      for (const iovec& piece : request->bytes) {
        std::memcpy(request->frozen.get() + at, piece.iov_base, piece.iov_len);
        at += piece.iov_len;
      }
      request->bytes.assign(1, iovec{request->frozen.get(), total});
    }
    request->is_frozen = true;
  }
}

void GateLane::drop(Outbound& request) {
  const auto found = std::find(held_.begin() + static_cast<ptrdiff_t>(first_), held_.end(), &request);
  KEMARI_ASSERT(found != held_.end());
  held_.erase(found);
}

std::span<Outbound* const> GateLane::held() const noexcept {
  return std::span(held_).subspan(first_);
}

bool OutputGate::may_leave(uint64_t sequence) const noexcept {
  return sequence <= released_through_.load() || open_.load();
}

void OutputGate::close() {
  open_.store(false);
}

void OutputGate::open() {
  open_.store(true);
  wake_lanes();
}

void OutputGate::release(uint64_t through_sequence) {
  KEMARI_ASSERT(through_sequence <= last_.load());
  KEMARI_ASSERT(released_through_.exchange(through_sequence) <= through_sequence);
  wake_lanes();
}

void OutputGate::wake_lanes() {
  // Under the lock, so that no lane goes while it is woken.
  const std::lock_guard lock(lanes_mutex_);
  for (GateLane* lane : lanes_) lane->wake_();
}

OutputGate::Counters OutputGate::counters() const noexcept {
  return {passed_.load(), held_.load(), released_.load()};
}

}  // namespace kemari
