#include "ring/xen/shared_ring.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

namespace kemari::xen {

uint32_t SharedRing::entries_in(size_t memory_bytes, size_t entry_bytes) noexcept {
  return std::bit_floor(static_cast<uint32_t>((memory_bytes - sizeof(SharedRingHead)) / entry_bytes));
}

void SharedRing::attach(std::span<uint8_t> memory) noexcept {
  memory_ = memory;
  entries_ = entries_in(memory.size(), entry_bytes_);
}

// SAFETY of these three: attach() was given memory that holds a head and all entries, aligned to a page.
uint32_t SharedRing::load(uint32_t SharedRingHead::* field) const noexcept {
  return __atomic_load_n(&(reinterpret_cast<const SharedRingHead*>(memory_.data())->*field), __ATOMIC_ACQUIRE);
}

void SharedRing::store(uint32_t SharedRingHead::* field, uint32_t value) noexcept {
  __atomic_store_n(&(reinterpret_cast<SharedRingHead*>(memory_.data())->*field), value, __ATOMIC_RELEASE);
}

uint8_t* SharedRing::entry(uint32_t index) const noexcept {
  return memory_.data() + sizeof(SharedRingHead) + (index & (entries_ - 1)) * entry_bytes_;
}

void SharedRing::start(uint16_t outstanding) noexcept {
  rsp_prod_ = published_ = rsp_prod_in_memory();
  req_cons_ = rsp_prod_ + outstanding;
}

PopResult SharedRing::pop(void* to) noexcept {
  const uint32_t produced = load(&SharedRingHead::req_prod);
  if (produced == req_cons_) return PopResult::kEmpty;
  // Each request has room for its answer: the driver may not be further ahead of the answers than the ring is long.
  if (produced - rsp_prod_ > entries_ || produced - req_cons_ > entries_) return PopResult::kBroken;
  // Volatile: each byte is read once, whatever the compiler would like.
  const volatile uint8_t* from = entry(req_cons_);
  std::copy_n(from, entry_bytes_, static_cast<uint8_t*>(to));
  req_cons_++;
  return PopResult::kChain;
}

void SharedRing::push(const void* answer, size_t bytes) noexcept {
  std::memcpy(entry(rsp_prod_), answer, bytes);
  rsp_prod_++;
}

bool SharedRing::publish() noexcept {
  if (published_ == rsp_prod_) return false;
  const uint32_t before = published_;
  store(&SharedRingHead::rsp_prod, rsp_prod_);
  published_ = rsp_prod_;
  // The answers must be visible before the driver's wish is read: else both sides may sleep.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return rsp_prod_ - load(&SharedRingHead::rsp_event) < rsp_prod_ - before;
}

bool SharedRing::arm() noexcept {
  store(&SharedRingHead::req_event, req_cons_ + 1);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return has_requests();
}

}  // namespace kemari::xen
