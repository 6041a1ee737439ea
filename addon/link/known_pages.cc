#include "link/known_pages.h"

#include <algorithm>

namespace kemari {

KnownPages::KnownPages(const Checkpoint& checkpoint, SentPages& sent) : sent_(sent) {
  runs_.reserve(checkpoint.ranges.size());
  const uint8_t* bytes = checkpoint.pages.data();
  for (const PageRange& range : checkpoint.ranges) {
    runs_.push_back({range.first, range.count, bytes});
    bytes += range.count * kPageBytes;
  }
  if (!std::ranges::is_sorted(runs_, {}, &Run::first)) std::ranges::sort(runs_, {}, &Run::first);
}

// A page of the epoch becomes what the epoch says; any other stays what was sent of it.
const uint8_t* KnownPages::find(uint64_t page) noexcept {
  const auto holds = [page](const Run& run) { return page >= run.first && page - run.first < run.count; };
  if (last_ >= runs_.size() || !holds(runs_[last_])) {
    const auto behind = std::ranges::upper_bound(runs_, page, {}, &Run::first);
    if (behind == runs_.begin()) return sent_.find(page);
    last_ = static_cast<size_t>(behind - runs_.begin()) - 1;
    if (!holds(runs_[last_])) return sent_.find(page);
  }
  return runs_[last_].bytes + (page - runs_[last_].first) * kPageBytes;
}

}  // namespace kemari
