// What a guest of Xen's grants, for fuzz targets: grant n is page n, others are none.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "error.h"
#include "ring/xen/grant_copier.h"
#include "ring/xen/ring_layout.h"

namespace kemari::fuzz {

inline constexpr uint32_t kGrants = 4;

class Grants final : public xen::GrantCopier {
 public:
  void copy(std::span<xen::GrantCopy> copies, Direction direction) noexcept override {
    for (xen::GrantCopy& one : copies) {
      KEMARI_ASSERT(one.piece.length != 0 && one.piece.offset + one.piece.length <= xen::kPageBytes);
      one.is_done = one.piece.ref < kGrants;
      if (!one.is_done) continue;
      uint8_t* const theirs = pages[one.piece.ref].data() + one.piece.offset;
      const bool is_in = direction == Direction::kIn;
      std::copy_n(is_in ? theirs : one.ours, one.piece.length, is_in ? one.ours : theirs);
    }
  }

  std::array<std::array<uint8_t, xen::kPageBytes>, kGrants> pages{};
};

}  // namespace kemari::fuzz
