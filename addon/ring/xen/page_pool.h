// Pages of ours for the pieces of requests, each with a number. Memory appears as it is used, and stays.
#pragma once

#include <cstdint>
#include <vector>

#include "error.h"
#include "ring/xen/ring_layout.h"
#include "unique_mapping.h"

namespace kemari::xen {

class PagePool {
 public:
  explicit PagePool(uint16_t pages) : memory_(size_t{pages} * kPageBytes, "KEMARI_XEN_MEMORY", "a ring's frames") {
    for (uint16_t page = pages; page > 0; page--) free_.push_back(static_cast<uint16_t>(page - 1));
  }

  bool is_empty() const noexcept { return free_.empty(); }
  uint16_t take() noexcept {
    KEMARI_ASSERT(!free_.empty());
    const uint16_t page = free_.back();
    free_.pop_back();
    return page;
  }
  void give_back(uint16_t page) noexcept { free_.push_back(page); }
  uint8_t* at(uint16_t page) const noexcept { return memory_.data() + size_t{page} * kPageBytes; }

 private:
  UniqueMapping memory_;
  std::vector<uint16_t> free_;
};

}  // namespace kemari::xen
