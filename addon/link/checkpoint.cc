#include "link/checkpoint.h"

#include <sys/mman.h>

#include <algorithm>

#include "error.h"

namespace kemari {

namespace {

constexpr uint64_t kGrowPages = (4 << 20) / kPageBytes;
constexpr uint64_t kKeptPages = PageBytes::kKeptBytes / kPageBytes;

}  // namespace

PageBytes::PageBytes(uint64_t capacity_pages) : capacity_pages_(capacity_pages) {
  // Without access rights, so that a host which counts what it promises (overcommit_memory 2) counts only what is used.
  void* data = mmap(nullptr, std::max<uint64_t>(capacity_pages, 1) * kPageBytes, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) fail_errno("KEMARI_LINK_MEMORY", "mmap", "cannot reserve address space for a checkpoint");
  data_ = static_cast<uint8_t*>(data);
}

PageBytes::~PageBytes() {
  munmap(data_, std::max<uint64_t>(capacity_pages_, 1) * kPageBytes);
}

uint8_t* PageBytes::append(uint64_t count) {
  KEMARI_ASSERT(count <= capacity_pages_ - page_count_);
  const uint64_t needed = page_count_ + count;
  if (needed > usable_pages_) {
    const uint64_t grown = std::min(capacity_pages_, (needed + kGrowPages - 1) / kGrowPages * kGrowPages);
    uint8_t* first = data_ + usable_pages_ * kPageBytes;
    const uint64_t more_bytes = (grown - usable_pages_) * kPageBytes;
    if (mprotect(first, more_bytes, PROT_READ | PROT_WRITE) != 0) {
      fail_errno("KEMARI_LINK_MEMORY", "mprotect", "no memory for a checkpoint");
    }
    usable_pages_ = grown;
  }
  if (needed > resident_pages_) {
    // All at once, which is cheaper than page by page. Not in large pages: finding those may take the host's kernel
    // five times as long as this, while the guest stands still.
    const uint64_t touched = needed < kKeptPages ? usable_pages_ : needed;
    madvise(data_ + resident_pages_ * kPageBytes, (touched - resident_pages_) * kPageBytes, MADV_POPULATE_WRITE);
    resident_pages_ = touched;
  }
  uint8_t* room = data_ + page_count_ * kPageBytes;
  page_count_ = needed;
  return room;
}

void PageBytes::clear() noexcept {
  if (page_count_ > kKeptPages) {
    madvise(data_ + kKeptPages * kPageBytes, (page_count_ - kKeptPages) * kPageBytes, MADV_DONTNEED);
    resident_pages_ = kKeptPages;
  }
  page_count_ = 0;
}

uint64_t Checkpoint::byte_count() const noexcept {
  uint64_t bytes = pages.page_count() * kPageBytes + machine_state.size() + console.size();
  for (const TracedBytes& device : devices) bytes += device.size();
  return bytes;
}

void Checkpoint::clear() noexcept {
  epoch = 0;
  ranges.clear();
  pages.clear();
  machine_state.clear();
  for (TracedBytes& device : devices) device = {};
  console.clear();
  guest_paused = false;
}

}  // namespace kemari
