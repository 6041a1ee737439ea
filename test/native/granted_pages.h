// Pages that a guest has granted, in tests: grant n is page n, others are not granted.
#pragma once

#include <algorithm>
#include <cstdint>

#include "error.h"
#include "ring/xen/grant_copier.h"
#include "ring/xen/ring_layout.h"
#include "unique_mapping.h"

class GrantedPages final : public kemari::xen::GrantCopier {
 public:
  explicit GrantedPages(uint32_t count)
      : memory_(size_t{count} * kemari::xen::kPageBytes, "KEMARI_XEN_MEMORY", "granted pages") {}

  void copy(std::span<kemari::xen::GrantCopy> copies, Direction direction) noexcept override {
    for (kemari::xen::GrantCopy& one : copies) {
      KEMARI_ASSERT(one.piece.length != 0 && one.piece.offset + one.piece.length <= kemari::xen::kPageBytes);
      const uint64_t at = uint64_t{one.piece.ref} * kemari::xen::kPageBytes;
      one.is_done = at < memory_.size_bytes();
      if (!one.is_done) continue;
      uint8_t* const theirs = memory_.data() + at + one.piece.offset;
      const bool is_in = direction == Direction::kIn;
      std::copy_n(is_in ? theirs : one.ours, one.piece.length, is_in ? one.ours : theirs);
    }
  }
  kemari::UniqueMapping& memory() noexcept { return memory_; }

 private:
  kemari::UniqueMapping memory_;
};
