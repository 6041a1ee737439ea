// Bytes to and from pages that a guest has granted. They are copied by the hypervisor and never mapped: a guest cannot
// change what we have already, and what we write is in the hypervisor's log of dirty pages the moment it is there.
#pragma once

#include <cstdint>
#include <span>

namespace kemari::xen {

// [offset, offset + length) of a granted page, not past its end.
struct GrantPiece {
  uint32_t ref;
  uint16_t offset;
  uint16_t length;
};

class GrantCopier {
 public:
  virtual ~GrantCopier() = default;
  // False where a grant is not one, or not for us, or forbids it; some of the pieces may be copied all the same.
  virtual bool copy_in(std::span<const GrantPiece> pieces, uint8_t* to) noexcept = 0;
  virtual bool copy_out(const uint8_t* from, std::span<const GrantPiece> pieces) noexcept = 0;
};

}  // namespace kemari::xen
