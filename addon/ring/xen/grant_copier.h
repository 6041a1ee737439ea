// Bytes to and from pages that a guest has granted. They are copied by the hypervisor and never mapped: a guest cannot
// change what we have already, and what we write is in the hypervisor's log of dirty pages the moment it is there.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace kemari::xen {

// [offset, offset + length) of a granted page, not past its end.
struct GrantPiece {
  uint32_t ref;
  uint16_t offset;
  uint16_t length;  // not 0
};

// A piece, and where its bytes are here.
struct GrantCopy {
  GrantPiece piece;
  uint8_t* ours;
  bool is_done = false;  // false where the grant is not one, or not for us, or forbids it
};

// One thread at a time.
class GrantCopier {
 public:
  enum class Direction : uint8_t { kIn = 1, kOut = 2 };  // kIn: from the guest

  virtual ~GrantCopier() = default;
  // Each piece says whether it was copied. A call costs more than what it copies: the more at once the better.
  virtual void copy(std::span<GrantCopy> copies, Direction direction) noexcept = 0;

  // Pieces whose bytes here are one behind the other. False where one of them was not copied; others may be.
  bool copy_in(std::span<const GrantPiece> pieces, uint8_t* to) noexcept {
    return copy_all(pieces, to, Direction::kIn);
  }
  bool copy_out(const uint8_t* from, std::span<const GrantPiece> pieces) noexcept {
    // SAFETY: only read from.
    return copy_all(pieces, const_cast<uint8_t*>(from), Direction::kOut);
  }

 private:
  bool copy_all(std::span<const GrantPiece> pieces, uint8_t* ours, Direction direction) noexcept;

  std::vector<GrantCopy> copies_;  // of one call
};

}  // namespace kemari::xen
