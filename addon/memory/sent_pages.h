// What the standby has of pages that were sent lately: the base of deltas. Bounded; old pages make room for new ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "unique_mapping.h"

namespace kemari {

class SentPages {
 public:
  // Room for as many pages as fit; none where that is less than one set. Throws KEMARI_LINK_MEMORY.
  explicit SentPages(uint64_t size_bytes);

  // The bytes that the standby has of the page, or nullptr where that is not known.
  uint8_t* find(uint64_t page) noexcept;
  // Where the caller writes what the standby now has of a page that find() did not know; nullptr when there is no room
  // at all. Forgets another page, the one of its set that was not used for longest.
  uint8_t* insert(uint64_t page) noexcept;
  void forget(uint64_t page) noexcept;

 private:
  static constexpr size_t kWays = 4;
  struct Slot {
    uint64_t page_plus_one = 0;  // 0: empty
    uint64_t used_at = 0;
  };

  size_t first_of(uint64_t page) const noexcept { return page % set_count_ * kWays; }
  uint8_t* bytes_of(size_t slot) const noexcept;

  size_t set_count_;
  UniqueMapping bytes_;
  std::vector<Slot> slots_;  // neighbouring pages lie in neighbouring sets, so a run never fights itself
  uint64_t now_ = 0;
};

}  // namespace kemari
