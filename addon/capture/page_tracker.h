// Which pages of guest memory another process has written: userfaultfd's write protection, which the kernel resolves by
// itself, read through /proc/PID/pagemap. The process is neither patched nor slowed beyond one fault a page.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "capture/kernel_abi.h"
#include "capture/page_ranges.h"
#include "unique_fd.h"

namespace kemari {

// Tracks one RAM file in one process for as long as it lives. Not thread-safe.
//
// The time that a scan takes goes with the page tables that it reads, and the kernel would make those that are missing.
// So guest memory is kept in blocks of 2 MiB, what one page table maps. A block that the process has not touched yet is
// only asked whether it has been; from then on its pages are armed one by one. All of them are reported that first time
// (a page without an entry may have been written and swapped out), less the holes of the file.
class PageTracker {
 public:
  // `ram_file` stays the caller's. Throws KEMARI_CAPTURE_ATTACH, KEMARI_CAPTURE_GONE.
  PageTracker(pid_t process, int ram_file);
  ~PageTracker();
  PageTracker(const PageTracker&) = delete;
  PageTracker& operator=(const PageTracker&) = delete;

  // Replaces `pages` by those that were written since the last call (the first time: all that the process has touched,
  // and maybe more), as pages of the file, and begins anew. What is written meanwhile is in this answer or in the next.
  // Throws KEMARI_CAPTURE_SCAN, KEMARI_CAPTURE_GONE.
  void collect(PageRanges& pages);

  // How many collect() would find, those of new blocks roughly; forgets nothing.
  uint64_t count();

 private:
  // Addresses [start, end) of the process, where the file's pages from `first_page` on lie, and its blocks: those of
  // the address space, so that the first and the last may reach beyond the mapping.
  struct Mapping {
    uint64_t start;
    uint64_t end;
    uint64_t first_page;
    std::vector<bool> touched;  // blocks that have a page table
    std::vector<bool> fresh;    // those that were found since the last collect()
  };
  // Addresses [start, end) within a mapping.
  struct Span {
    uint64_t start;
    uint64_t end;
  };

  void find_mappings();
  void watch();
  static uint64_t block_of(const Mapping& mapping, uint64_t address) noexcept;
  static std::vector<Span> spans(const Mapping& mapping, bool touched);
  void find_touched(Mapping& mapping);
  void find_swapped(Mapping& mapping);
  static void touch(Mapping& mapping, uint64_t first_address, uint64_t last_address);
  static void bridge(Mapping& mapping);
  void collect_span(const Mapping& mapping, Span span, PageRanges& pages);
  void append(const Mapping& mapping, uint64_t start, uint64_t end, PageRanges& pages);
  template <typename Found>
  void scan(Span span, uint64_t flags, uint64_t categories, Found&& found);

  pid_t process_;
  int ram_file_;
  bool narrow_;  // arm no more than what was written
  UniqueFd fault_;
  UniqueFd pagemap_;
  std::vector<Mapping> mappings_;  // by first_page
  std::vector<kernel::PageRegion> regions_;
};

}  // namespace kemari
