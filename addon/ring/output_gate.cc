#include "ring/output_gate.h"

#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "error.h"
#include "evidence/evidence.h"
#include "fault/fault.h"
#include "memory/dirty_bitmap.h"
#include "memory/guest_memory.h"

namespace kemari {

namespace {

int64_t boottime_ns() noexcept {
  // Not the coarse clock: it lags by up to a tick, during which the lease would seem to hold.
  timespec now;
  KEMARI_ASSERT(::clock_gettime(CLOCK_BOOTTIME, &now) == 0);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

HeldOutput output_of(OutboundKind kind) noexcept {
  return kind == OutboundKind::kConsole ? HeldOutput::kConsole : HeldOutput::kRequest;
}

}  // namespace

void freeze_bytes(Outbound& request, std::span<const iovec> pieces) {
  size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  if (total != 0) {
    const size_t rounded = (total + kPageBytes - 1) / kPageBytes * kPageBytes;
    auto* const bytes = static_cast<uint8_t*>(std::aligned_alloc(kPageBytes, rounded));
    if (bytes == nullptr) throw std::bad_alloc();
    request.frozen.reset(bytes, [](uint8_t* all) { std::free(all); });
    size_t at = 0;
    for (const iovec& piece : pieces) {
      std::memcpy(request.frozen.get() + at, piece.iov_base, piece.iov_len);
      at += piece.iov_len;
    }
  }
  request.frozen_bytes = total;
  request.copied_from.assign(pieces.begin(), pieces.end());
  request.is_frozen = true;
}

SharedBytes frozen_of(const Outbound& request, const GuestMemory& memory) {
  return {request.frozen, request.frozen_bytes, memory.origins_of(request.copied_from)};
}

// --- a lane ---------------------------------------------------------------------------------------------------------

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
  request.counted_bytes = 0;
  for (const iovec& piece : request.bytes) request.counted_bytes += piece.iov_len;
  outstanding_bytes_ += request.counted_bytes;
  // The number first, then the question: whoever closes the gate and then reads last_sequence() covers all that passed.
  request.sequence = gate_->last_.fetch_add(1) + 1;
  if (first_ == held_.size() && gate_->is_open() && gate_->lease_holds()) {
    gate_->passed_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  held_.push_back(&request);
  request.is_held = true;
  gate_->held_.fetch_add(1, std::memory_order_relaxed);
  // Opened, or the lease renewed, between the question and the hold: nobody would wake this lane again.
  if (gate_->was_released(request.sequence) && gate_->lease_holds()) wake_();
  gate_->tell_held(request);
  return false;
}

Outbound* GateLane::next_released() {
  if (first_ == held_.size()) return nullptr;
  Outbound* request = held_[first_];
  if (!gate_->was_released(request->sequence) || !gate_->lease_holds()) return nullptr;
  gate_->released_.fetch_add(1, std::memory_order_relaxed);
  fault_point("release.tested");
  if (first_ > 0) fault_point("release.half");
  first_++;
  if (first_ == held_.size()) {
    held_.clear();
    first_ = 0;
  } else if (first_ > held_.size() / 2) {
    held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
  request->is_held = false;
  return request;
}

bool GateLane::may_submit() const noexcept {
  return gate_->lease_holds();
}

void GateLane::done(Outbound& request) noexcept {
  KEMARI_ASSERT(request.counted_bytes <= outstanding_bytes_);
  outstanding_bytes_ -= std::exchange(request.counted_bytes, 0);
  request.frozen.reset();
  request.frozen_bytes = 0;
  request.copied_from.clear();
  request.is_frozen = false;
  request.is_answered = false;
}

void GateLane::freeze() {
  for (Outbound* request : held()) freeze(*request);
}

void GateLane::freeze(Outbound& held) {
  if (held.is_frozen) return;
  freeze_bytes(held, held.bytes);
  if (held.frozen_bytes != 0) held.bytes.assign(1, iovec{held.frozen.get(), held.frozen_bytes});
}

void GateLane::drop(Outbound& request) {
  const auto found = std::find(held_.begin() + static_cast<ptrdiff_t>(first_), held_.end(), &request);
  KEMARI_ASSERT(found != held_.end());
  held_.erase(found);
  request.is_held = false;
  done(request);
}

std::span<Outbound* const> GateLane::held() const noexcept {
  return std::span(held_).subspan(first_);
}

uint32_t GateLane::kept_back() const noexcept {
  const std::span<Outbound* const> all = held();
  return static_cast<uint32_t>(
      std::ranges::count_if(all, [this](const Outbound* request) { return !gate_->was_released(request->sequence); }));
}

// --- the gate -------------------------------------------------------------------------------------------------------

bool OutputGate::was_released(uint64_t sequence) const noexcept {
  return sequence <= released_through_.load() || open_.load();
}

void OutputGate::close() {
  open_.store(false);
  note_gate(GateEvent::kClosed, last_.load());
}

void OutputGate::open() {
  note_gate(GateEvent::kOpened, last_.load());
  open_.store(true);
  wake_lanes();
}

void OutputGate::release(uint64_t through_sequence) {
  KEMARI_ASSERT(through_sequence <= last_.load());
  fault_point("release.before");
  KEMARI_ASSERT(released_through_.exchange(through_sequence) <= through_sequence);
  wake_lanes();
}

void OutputGate::wake_lanes() {
  // Under the lock, so that no lane goes while it is woken.
  const std::lock_guard lock(lanes_mutex_);
  for (GateLane* lane : lanes_) lane->wake_();
}

uint64_t OutputGate::cut() noexcept {
  uint64_t through;
  do {
    through = last_.load();
    for (auto& armed_from : armed_from_) armed_from.store(through + 1);
    // A request that took its number in between may have looked before this was armed: the cut covers it, too.
  } while (last_.load() != through);
  return through;
}

void OutputGate::tell_held(const Outbound& request) {
  const HeldOutput output = output_of(request.kind);
  std::atomic<uint64_t>& armed_from = armed_from_[static_cast<size_t>(output) - 1];
  uint64_t from = armed_from.load();
  // A cut that comes in between arms it anew: the exchange then fails, and this request may be one of the cut's.
  while (request.sequence >= from) {
    if (!armed_from.compare_exchange_weak(from, kNobodyArmed)) continue;
    const std::lock_guard lock(listener_mutex_);
    if (listener_) listener_(output, request.sequence);
    return;
  }
}

void OutputGate::set_held_listener(HeldListener listener) {
  const std::lock_guard lock(listener_mutex_);
  listener_ = std::move(listener);
  cut();
}

void OutputGate::require_lease(bool required) {
  lease_required_.store(required);
  // The lease of a protection that has ended is none of the next one's.
  if (!required) lease_until_ns_.store(INT64_MIN);
  lease_ended_.store(false);
  wake_lanes();
}

void OutputGate::end_lease() noexcept {
  lease_ended_.store(true);
}

void OutputGate::renew_lease(int64_t until_boottime_ns) {
  int64_t until = lease_until_ns_.load();
  while (until < until_boottime_ns && !lease_until_ns_.compare_exchange_weak(until, until_boottime_ns)) continue;
  if (lease_awaited_.exchange(false)) wake_lanes();
}

bool OutputGate::has_lease() const noexcept {
  return !lease_required_.load() || (!lease_ended_.load() && boottime_ns() < lease_until_ns_.load());
}

// Whoever finds the lease over is woken by the renewal that comes after: it looks again, for one that came meanwhile.
bool OutputGate::lease_holds() noexcept {
  if (has_lease()) return true;
  lease_awaited_.store(true);
  return has_lease();
}

OutputGate::Counters OutputGate::counters() const noexcept {
  return {passed_.load(), held_.load(), released_.load()};
}

}  // namespace kemari
