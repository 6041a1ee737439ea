// Guest memory of a standby while nobody runs the guest: what epochs are copied into.
#pragma once

#include <cstdint>
#include <memory>

#include "memory/guest_memory.h"
#include "unique_fd.h"

namespace kemari {

// Used by one thread. Page numbers were checked by the caller (asserted).
class RamImage {
 public:
  // The file behind `ram_fd` stays the caller's. Throws KEMARI_RAM_MAP.
  explicit RamImage(int ram_fd);

  uint64_t page_count() const noexcept { return page_count_; }
  const uint8_t* page(uint64_t page) const noexcept;
  void copy(uint64_t first_page, uint64_t count, const uint8_t* bytes) noexcept;
  // Memory that was never touched stays untouched, and long runs give theirs back: a sparse guest stays sparse.
  void zero(uint64_t first_page, uint64_t count) noexcept;

 private:
  static constexpr uint64_t kPunchPages = 16;  // from here on a system call is cheaper than writing

  bool is_hole(uint64_t first_page, uint64_t count) const noexcept;

  std::shared_ptr<RamFile> file_;
  UniqueFd fd_;
  uint64_t page_count_;
};

}  // namespace kemari
