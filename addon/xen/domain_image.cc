#include "xen/domain_image.h"

#include <cstring>
#include <utility>

#include "error.h"
#include "memory/dirty_bitmap.h"
#include "xen/machine_state.h"

namespace kemari::xen {

DomainImage::DomainImage(uint16_t domid, uint64_t frames)
    : domain_(domid), pages_(domid, frames, ForeignPages::Access::kWrite) {}

uint64_t DomainImage::memory_bytes() {
  return domain_.info().max_pages * kPageBytes;
}

void place_frames(Domain& domain, const PvContextFrames& wanted, PvContextFrames& placed,
                  const std::function<void(uint64_t)>& moved) {
  if (wanted.shared_info != kNoFrame && wanted.shared_info != placed.shared_info) {
    domain.place_shared_info(wanted.shared_info);
    placed.shared_info = wanted.shared_info;
    moved(wanted.shared_info);
  }
  placed.grants.resize(wanted.grants.size(), kNoFrame);
  for (size_t i = 0; i < wanted.grants.size(); i++) {
    if (wanted.grants[i] == kNoFrame || wanted.grants[i] == placed.grants[i]) continue;
    domain.place_grant_table(i, wanted.grants[i]);
    placed.grants[i] = wanted.grants[i];
    moved(wanted.grants[i]);
  }
}

void DomainImage::prepare(std::span<const uint8_t> machine_state) {
  place_frames(domain_, frames_of(read_machine_state(machine_state).pv_context), placed_,
               [this](uint64_t frame) { pages_.forget(frame); });
}

bool DomainImage::is_there(uint64_t first_page, uint64_t count) noexcept {
  for (uint64_t i = 0; i < count; i++) {
    if (pages_.at(first_page + i) == nullptr) return false;
  }
  return true;
}

const uint8_t* DomainImage::page(uint64_t page) noexcept {
  return pages_.at(page);
}

void DomainImage::copy(uint64_t first_page, uint64_t count, const uint8_t* bytes) noexcept {
  for (uint64_t i = 0; i < count; i++, bytes += kPageBytes) {
    uint8_t* const to = pages_.writable_at(first_page + i);
    KEMARI_ASSERT(to != nullptr);
    std::memcpy(to, bytes, kPageBytes);
  }
}

void DomainImage::zero(uint64_t first_page, uint64_t count) noexcept {
  for (uint64_t i = 0; i < count; i++) {
    uint8_t* const to = pages_.writable_at(first_page + i);
    KEMARI_ASSERT(to != nullptr);
    std::memset(to, 0, kPageBytes);
  }
}

}  // namespace kemari::xen
