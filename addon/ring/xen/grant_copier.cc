#include "ring/xen/grant_copier.h"

#include <algorithm>

namespace kemari::xen {

bool GrantCopier::copy_all(std::span<const GrantPiece> pieces, uint8_t* ours, Direction direction) noexcept {
  copies_.clear();
  for (const GrantPiece& piece : pieces) {
    copies_.push_back({piece, ours});
    ours += piece.length;
  }
  copy(copies_, direction);
  return std::ranges::all_of(copies_, [](const GrantCopy& one) { return one.is_done; });
}

}  // namespace kemari::xen
