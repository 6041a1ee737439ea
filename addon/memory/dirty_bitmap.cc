#include "memory/dirty_bitmap.h"

#include <algorithm>
#include <bit>

#include "error.h"

namespace kemari {

static constexpr uint64_t kBitsPerWord = 64;

DirtyBitmap::DirtyBitmap(uint64_t size_bytes)
    : page_count_(size_bytes / kPageBytes + (size_bytes % kPageBytes != 0)),
      word_count_(page_count_ / kBitsPerWord + (page_count_ % kBitsPerWord != 0)),
      // SAFETY: a lock-free atomic has the layout of its integer, and zero bytes are the value 0.
      words_(static_cast<std::atomic<uint64_t>*>(std::calloc(word_count_, sizeof(std::atomic<uint64_t>)))) {
  static_assert(std::atomic<uint64_t>::is_always_lock_free && sizeof(std::atomic<uint64_t>) == sizeof(uint64_t));
  if (words_ == nullptr && word_count_ != 0) fail("KEMARI_RAM_MAP", "no memory for the dirty bitmap");
}

void DirtyBitmap::mark(uint64_t offset_bytes, uint64_t length_bytes) noexcept {
  if (length_bytes == 0) return;
  const uint64_t first = offset_bytes / kPageBytes;
  const uint64_t last = (offset_bytes + (length_bytes - 1)) / kPageBytes;
  KEMARI_ASSERT(offset_bytes + (length_bytes - 1) >= offset_bytes && last < page_count_);
  for (uint64_t page = first; page <= last;) {
    const uint64_t bit = page % kBitsPerWord;
    const uint64_t in_word = std::min(kBitsPerWord - bit, last - page + 1);
    const uint64_t mask = (in_word == kBitsPerWord ? ~0ull : (1ull << in_word) - 1) << bit;
    std::atomic<uint64_t>& word = words_[page / kBitsPerWord];
    // Most pages are marked already (rings, reused buffers): a plain load is much cheaper than a locked or.
    if ((word.load(std::memory_order_relaxed) & mask) != mask) word.fetch_or(mask, std::memory_order_relaxed);
    page += in_word;
  }
}

std::vector<PageRange> DirtyBitmap::take() {
  std::vector<PageRange> ranges;
  for (uint64_t index = 0; index < word_count_; index++) {
    if (words_[index].load(std::memory_order_relaxed) == 0) continue;
    uint64_t word = words_[index].exchange(0, std::memory_order_acquire);
    while (word != 0) {
      const uint64_t first = index * kBitsPerWord + std::countr_zero(word);
      word >>= std::countr_zero(word);
      const uint64_t count = std::countr_one(word);
      // Bits that are shifted out are gone: what is left starts behind this run.
      word = count == kBitsPerWord ? 0 : word >> count << count << (first % kBitsPerWord);
      if (!ranges.empty() && ranges.back().first + ranges.back().count == first) {
        ranges.back().count += count;
      } else {
        ranges.push_back({first, count});
      }
    }
  }
  return ranges;
}

uint64_t DirtyBitmap::count() const noexcept {
  uint64_t pages = 0;
  for (uint64_t index = 0; index < word_count_; index++) {
    pages += std::popcount(words_[index].load(std::memory_order_relaxed));
  }
  return pages;
}

}  // namespace kemari
