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
// A 2 MiB block that the process has never touched has no page table and costs nothing. When it appears, all of its
// pages are reported once, since what has no entry may have been written and swapped out; those that are holes of the
// file are left out then. From then on its pages are armed one by one.
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

  // How many collect() would find, holes included; forgets nothing.
  uint64_t count();

 private:
  // Addresses [start, end) of the process, where the file's pages from `first_page` on lie.
  struct Mapping {
    uint64_t start;
    uint64_t end;
    uint64_t first_page;
  };

  void find_mappings();
  void watch();
  template <typename Found>
  void scan(const Mapping& mapping, uint64_t flags, Found&& found);
  void append(PageRanges& pages, uint64_t first, uint64_t count);

  pid_t process_;
  int ram_file_;
  UniqueFd fault_;
  UniqueFd pagemap_;
  std::vector<Mapping> mappings_;  // by first_page
  std::vector<bool> seen_blocks_;  // of the file: have a page table, and were armed as a whole
  std::vector<uint64_t> new_blocks_;
  std::vector<kernel::PageRegion> regions_;
};

}  // namespace kemari
