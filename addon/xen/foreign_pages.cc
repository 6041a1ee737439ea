#include "xen/foreign_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>

#include "error.h"
#include "memory/dirty_bitmap.h"

namespace kemari::xen {

// What is mapped by one call: a page table's worth of batches, and an array that fits on the stack.
static constexpr size_t kPagesAtOnce = 1024;

ForeignPages::ForeignPages(uint16_t domid, uint64_t frames, Access access)
    : domid_(domid), access_(access), memory_(libraries().memory_open(nullptr, 0)), pages_(frames, nullptr) {
  if (memory_ == nullptr) fail_errno("KEMARI_XEN_MISSING", "xenforeignmemory_open", "guests' memory cannot be reached");
}

void ForeignPages::map_all(Domain& domain) {
  const std::vector<uint64_t> there = domain.memory_frames(frames());
  for (std::span<const uint64_t> rest = there; !rest.empty();) {
    const size_t count = std::min(rest.size(), kPagesAtOnce);
    map(rest.first(count));
    rest = rest.subspan(count);
  }
}

ForeignPages::~ForeignPages() {
  for (const Mapping& mapping : mappings_) libraries().memory_unmap(memory_, mapping.address, mapping.pages);
  libraries().memory_close(memory_);
}

const uint8_t* ForeignPages::at(uint64_t frame) {
  if (frame >= pages_.size()) return nullptr;
  if (pages_[frame] == nullptr) map({&frame, 1});
  return pages_[frame];
}

uint8_t* ForeignPages::writable_at(uint64_t frame) {
  KEMARI_ASSERT(access_ == Access::kWrite);
  return at(frame) == nullptr ? nullptr : pages_[frame];
}

void ForeignPages::map(std::span<const uint64_t> frames) {
  std::array<int, kPagesAtOnce> errors{};
  const int protection = access_ == Access::kWrite ? PROT_READ | PROT_WRITE : PROT_READ;
  void* const address =
      libraries().memory_map(memory_, domid_, protection, frames.size(), frames.data(), errors.data());
  if (address == nullptr) return;
  auto* const bytes = static_cast<uint8_t*>(address);
  bool any = false;
  for (size_t i = 0; i < frames.size(); i++) {
    if (errors[i] != 0) continue;
    pages_[frames[i]] = bytes + i * kPageBytes;
    any = true;
  }
  if (any) {
    mappings_.push_back({address, frames.size()});
  } else {
    libraries().memory_unmap(memory_, address, frames.size());
  }
}

}  // namespace kemari::xen
