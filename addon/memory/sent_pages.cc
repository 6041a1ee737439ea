#include "memory/sent_pages.h"

#include "memory/dirty_bitmap.h"

namespace kemari {

SentPages::SentPages(uint64_t size_bytes)
    : set_count_(size_bytes / kPageBytes / kWays),
      bytes_(set_count_ * kWays * kPageBytes, "KEMARI_LINK_MEMORY", "copies of sent pages"),
      slots_(set_count_ * kWays) {}

uint8_t* SentPages::bytes_of(size_t slot) const noexcept {
  return bytes_.data() + slot * kPageBytes;
}

uint8_t* SentPages::find(uint64_t page) noexcept {
  if (set_count_ == 0) return nullptr;
  const size_t first = first_of(page);
  for (size_t slot = first; slot < first + kWays; slot++) {
    if (slots_[slot].page_plus_one != page + 1) continue;
    slots_[slot].used_at = ++now_;
    return bytes_of(slot);
  }
  return nullptr;
}

uint8_t* SentPages::insert(uint64_t page) noexcept {
  if (set_count_ == 0) return nullptr;
  const size_t first = first_of(page);
  size_t oldest = first;
  for (size_t slot = first + 1; slot < first + kWays; slot++) {
    if (slots_[slot].used_at < slots_[oldest].used_at) oldest = slot;
  }
  slots_[oldest] = {page + 1, ++now_};
  return bytes_of(oldest);
}

void SentPages::forget(uint64_t page) noexcept {
  if (set_count_ == 0) return;
  const size_t first = first_of(page);
  for (size_t slot = first; slot < first + kWays; slot++) {
    if (slots_[slot].page_plus_one == page + 1) slots_[slot] = {};
  }
}

}  // namespace kemari
