// Guest memory as the standby has it with an epoch applied, as far as the primary knows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "link/checkpoint.h"
#include "memory/sent_pages.h"

namespace kemari {

// Of the epoch that is encoded next, or is being encoded; both must outlive it.
class KnownPages {
 public:
  KnownPages(const Checkpoint& checkpoint, SentPages& sent);

  // nullptr: not known. Valid until a page is encoded. Cheapest for a page that lies in the run of the last one.
  const uint8_t* find(uint64_t page) noexcept;

 private:
  struct Run {
    uint64_t first;
    uint64_t count;
    const uint8_t* bytes;
  };

  SentPages& sent_;
  std::vector<Run> runs_;  // of the epoch itself, ascending
  size_t last_ = 0;        // where the last page was, or would have been
};

}  // namespace kemari
