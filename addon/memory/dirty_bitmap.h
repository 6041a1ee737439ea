// Which pages of guest memory kemari itself has written since the last cut. Trackers of QEMU's page tables do not see
// these writes, so the capture joins both.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace kemari {

inline constexpr size_t kPageBytes = 4096;

// A half-open range of pages, [first, first + count), in units of kPageBytes from the start of the RAM file.
struct PageRange {
  uint64_t first;
  uint64_t count;
};

// One bit a page. mark() may be called by many threads at once. It is called after the data has landed and before the
// used entry is published; the publishing store has release order, so whoever sees the completion sees the mark.
class DirtyBitmap {
 public:
  // Throws KEMARI_RAM_MAP when there is no memory for it.
  explicit DirtyBitmap(uint64_t size_bytes);

  // Marks every page that [offset, offset + length) touches. Offsets outside the file are our own mistake (asserted).
  void mark(uint64_t offset_bytes, uint64_t length_bytes) noexcept;

  // Returns the marked pages in ascending order and clears them. Called with the ring threads parked.
  std::vector<PageRange> take();

  uint64_t count() const noexcept;

 private:
  struct FreeWords {
    void operator()(std::atomic<uint64_t>* words) const noexcept { std::free(words); }
  };

  uint64_t page_count_;
  uint64_t word_count_;
  std::unique_ptr<std::atomic<uint64_t>[], FreeWords> words_;  // pages of it appear as they are touched
};

}  // namespace kemari
