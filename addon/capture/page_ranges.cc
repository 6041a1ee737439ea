#include "capture/page_ranges.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "error.h"

namespace kemari {

uint64_t page_count(const PageRanges& ranges) noexcept {
  uint64_t pages = 0;
  for (const PageRange& range : ranges) pages += range.count;
  return pages;
}

void append_pages(PageRanges& ranges, uint64_t first, uint64_t count) {
  if (!ranges.empty() && first <= ranges.back().first + ranges.back().count) {
    PageRange& last = ranges.back();
    last.count = std::max(last.count, first + count - last.first);
  } else {
    ranges.push_back({first, count});
  }
}

void add_pages(PageRanges& pages, const PageRanges& more) {
  if (more.empty()) return;
  PageRanges both;
  both.reserve(pages.size() + more.size());
  auto one = pages.begin();
  auto other = more.begin();
  while (one != pages.end() || other != more.end()) {
    const bool take_one = other == more.end() || (one != pages.end() && one->first <= other->first);
    const PageRange& next = take_one ? *one++ : *other++;
    append_pages(both, next.first, next.count);
  }
  pages = std::move(both);
}

void append_data(PageRanges& pages, int file, uint64_t first, uint64_t count) {
  const auto end = static_cast<off_t>((first + count) * kPageBytes);
  auto at = static_cast<off_t>(first * kPageBytes);
  while (at < end) {
    const off_t data = lseek(file, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return;  // nothing but a hole up to the end of the file
    if (data < 0) fail_errno("KEMARI_CAPTURE_SCAN", "lseek", "cannot find the data of guest memory");
    if (data >= end) return;
    const off_t hole = lseek(file, data, SEEK_HOLE);
    if (hole < 0) fail_errno("KEMARI_CAPTURE_SCAN", "lseek", "cannot find the holes of guest memory");
    const auto first_page = static_cast<uint64_t>(data) / kPageBytes;
    const auto end_page = (static_cast<uint64_t>(std::min(hole, end)) + kPageBytes - 1) / kPageBytes;
    append_pages(pages, first_page, end_page - first_page);
    at = hole;
  }
}

}  // namespace kemari
