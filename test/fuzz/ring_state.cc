// Fuzz target: a device's part of a checkpoint, as a peer sends it. What is read is within the limits of its layout,
// and written again it is the same bytes.
#include "ring/ring_state.h"

#include <vector>

#include "error.h"
#include "input.h"
#include "ring/split_queue.h"

namespace kemari::fuzz {
namespace {

uint64_t writable_bytes(const CutRequest& request) {
  uint64_t bytes = 0;
  for (const CutSegment& segment : request.writable) bytes += segment.length;
  return bytes;
}

void check(const CutQueue& queue, uint32_t queue_count) {
  KEMARI_ASSERT(queue.index < queue_count && queue.size <= SplitQueue::kMaxSize);
  KEMARI_ASSERT(queue.kept.size() + queue.unread.size() + queue.pending.size() <= queue.size);
  for (const CutRequest& request : queue.pending) {
    KEMARI_ASSERT(request.head < queue.size && request.writable.size() <= SplitQueue::kMaxChainSegments);
    KEMARI_ASSERT(writable_bytes(request) <= SplitQueue::kMaxChainBytes);
    KEMARI_ASSERT((request.sequence == 0) == (request.kind == RequestKind::kDiskRead));
    // Every byte is there.
    volatile uint8_t sum = 0;
    for (const uint8_t byte : request.bytes) sum = sum + byte;
  }
}

void run(std::span<const uint8_t> bytes) {
  RingState state{};
  try {
    state = decode_ring_state(bytes);
  } catch (const Error& error) {
    KEMARI_ASSERT(error.code() == "KEMARI_RING_STATE");
    return;
  }
  for (const CutQueue& queue : state.queues) check(queue, state.queue_count);
  const std::vector<uint8_t> again = encode_ring_state(state).joined();
  KEMARI_ASSERT(again.size() == bytes.size());
  KEMARI_ASSERT(encode_ring_state(decode_ring_state(again)).joined() == again);
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A copy of its own, so that one byte too far is seen.
  kemari::fuzz::run(std::vector<uint8_t>(data, data + size));
  return 0;
}
