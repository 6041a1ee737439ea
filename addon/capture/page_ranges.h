// Sets of pages as ascending ranges that neither overlap nor touch.
#pragma once

#include <cstdint>
#include <vector>

#include "memory/dirty_bitmap.h"

namespace kemari {

using PageRanges = std::vector<PageRange>;

uint64_t page_count(const PageRanges& ranges) noexcept;

// Adds [first, first + count), which begins no earlier than the last range does.
void append_pages(PageRanges& ranges, uint64_t first, uint64_t count);

// `pages` becomes the union of both.
void add_pages(PageRanges& pages, const PageRanges& more);

// The pages of [first, first + count) that a file has data for: all but its holes. Appends to `pages`, as append_pages.
// Throws KEMARI_CAPTURE_SCAN.
void append_data(PageRanges& pages, int file, uint64_t first, uint64_t count);

}  // namespace kemari
