#include "ring/request_queue.h"

namespace kemari {

static uint64_t sum(const std::vector<Segment>& segments) noexcept {
  uint64_t bytes = 0;
  for (const Segment& segment : segments) bytes += segment.length;
  return bytes;
}

uint64_t Chain::readable_bytes() const noexcept {
  return sum(readable);
}
uint64_t Chain::writable_bytes() const noexcept {
  return sum(writable);
}

}  // namespace kemari
