// The back-end's side of a ring of Xen's in a shared page (xen/include/public/io/ring.h): its indexes and its entries.
// The guest writes them at any time, so every access is atomic, and an entry is copied before it is looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ring/request_queue.h"
#include "ring/xen/ring_layout.h"

namespace kemari::xen {

class SharedRing {
 public:
  explicit SharedRing(size_t entry_bytes) : entry_bytes_(entry_bytes) {}

  // Entries of a ring with this much memory: a power of two.
  static uint32_t entries_in(size_t memory_bytes, size_t entry_bytes) noexcept;

  // `memory` is page-aligned, and must last until detach().
  void attach(std::span<uint8_t> memory) noexcept;
  void detach() noexcept { memory_ = {}; }
  bool is_attached() const noexcept { return !memory_.empty(); }
  uint32_t entries() const noexcept { return entries_; }

  // Answers start behind those that the guest sees; requests `outstanding` further.
  void start(uint16_t outstanding) noexcept;

  // The next request, copied to `to` (entry_bytes). kBroken: the guest claims more than the ring holds.
  PopResult pop(void* to) noexcept;
  void unpop(uint32_t count) noexcept { req_cons_ -= count; }
  // Where the next answer goes; written with push().
  void push(const void* answer, size_t bytes) noexcept;
  // True when the driver wants to be called.
  bool publish() noexcept;
  bool has_requests() const noexcept { return available() != 0; }
  // Requests that the guest claims to have put there; more than the ring has entries where it lies.
  uint32_t available() const noexcept { return load(&SharedRingHead::req_prod) - req_cons_; }
  // Asks for an event with the next request; true when one is there already.
  bool arm() noexcept;

  uint32_t req_cons() const noexcept { return req_cons_; }
  uint32_t rsp_prod() const noexcept { return rsp_prod_; }
  uint32_t rsp_prod_in_memory() const noexcept { return load(&SharedRingHead::rsp_prod); }

 private:
  uint32_t load(uint32_t SharedRingHead::* field) const noexcept;
  void store(uint32_t SharedRingHead::* field, uint32_t value) noexcept;
  uint8_t* entry(uint32_t index) const noexcept;

  const size_t entry_bytes_;
  std::span<uint8_t> memory_;
  uint32_t entries_ = 0;
  uint32_t req_cons_ = 0;
  uint32_t rsp_prod_ = 0;   // next answer to write
  uint32_t published_ = 0;  // as the guest sees it
};

}  // namespace kemari::xen
