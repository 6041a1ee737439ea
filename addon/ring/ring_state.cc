#include "ring/ring_state.h"

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstring>
#include <string>

#include "error.h"
#include "ring/request_queue.h"

namespace kemari {

namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kMagic = 0x474e524b;  // "KRNG"
constexpr size_t kSegmentBytes = sizeof(uint64_t) + sizeof(uint32_t);

[[noreturn]] void refuse(const std::string& what) {
  fail("KEMARI_RING_STATE", "the ring state of a checkpoint is not one: " + what);
}

class Writer {
 public:
  explicit Writer(size_t expected_bytes) { bytes_.reserve(expected_bytes); }

  template <std::integral T>
  void put(T value) {
    const auto* at = reinterpret_cast<const uint8_t*>(&value);  // SAFETY: an integer's own bytes
    bytes_.insert(bytes_.end(), at, at + sizeof value);
  }
  // Few are not worth sharing.
  void put(std::span<const uint8_t> bytes, const SharedBytes& shared) {
    if (shared.bytes == nullptr || bytes.size() < kLeastSharedBytes) {
      bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    } else {
      KEMARI_ASSERT(shared.bytes.get() == bytes.data() && shared.length == bytes.size());
      shared_.push_back({bytes_.size(), shared});
    }
  }
  TracedBytes take() { return {std::move(bytes_), std::move(shared_)}; }

 private:
  static constexpr size_t kLeastSharedBytes = 512;

  std::vector<uint8_t> bytes_;
  std::vector<TracedBytes::Shared> shared_;
};

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : rest_(bytes) {}

  template <std::integral T>
  T take() {
    T value;
    std::memcpy(&value, take_bytes(sizeof value).data(), sizeof value);
    return value;
  }
  std::span<const uint8_t> take_bytes(uint64_t count) {
    if (count > rest_.size()) {
      refuse("it ends " + std::to_string(count - rest_.size()) + " bytes before its last field");
    }
    const auto bytes = rest_.first(count);
    rest_ = rest_.subspan(count);
    return bytes;
  }
  size_t left() const noexcept { return rest_.size(); }

 private:
  std::span<const uint8_t> rest_;
};

// The heads of one queue that were named already.
class Heads {
 public:
  explicit Heads(uint16_t queue_size) : seen_(queue_size) {}

  uint16_t check(uint16_t head) {
    if (head >= seen_.size()) refuse("head " + std::to_string(head) + " is outside its queue");
    if (seen_[head]) refuse("head " + std::to_string(head) + " is pending twice");
    seen_[head] = true;
    return head;
  }

 private:
  std::vector<bool> seen_;
};

size_t encoded_bytes(const RingState& state) {
  size_t bytes = 64;
  for (const CutQueue& queue : state.queues) {
    bytes += 16 + queue.kept.size() * 16 + queue.unread.size() * 2;
    for (const CutRequest& request : queue.pending) {
      bytes += 40 + request.writable.size() * kSegmentBytes;
      if (request.shared.bytes == nullptr) bytes += request.bytes.size();
    }
  }
  for (const CutAnswered& answered : state.answered) {
    bytes += 16 + (answered.shared.bytes == nullptr ? answered.bytes.size() : 0);
  }
  return bytes;
}

void encode_request(Writer& out, const CutRequest& request) {
  out.put(request.head);
  out.put(static_cast<uint8_t>(request.kind));
  out.put(static_cast<uint8_t>(request.place));
  out.put(static_cast<uint32_t>(request.writable.size()));
  out.put(request.sequence);
  out.put(request.sector);
  out.put(static_cast<uint64_t>(request.bytes.size()));
  out.put(request.token);
  for (const CutSegment& segment : request.writable) {
    out.put(segment.address);
    out.put(segment.length);
  }
  out.put(request.bytes, request.shared);
}

CutRequest decode_request(Reader& in, Heads& heads) {
  CutRequest request;
  request.head = heads.check(in.take<uint16_t>());
  const auto kind = in.take<uint8_t>();
  if (kind < static_cast<uint8_t>(RequestKind::kDiskWrite) || kind > static_cast<uint8_t>(RequestKind::kDiskRead)) {
    refuse("a request of kind " + std::to_string(kind));
  }
  request.kind = static_cast<RequestKind>(kind);
  const auto place = in.take<uint8_t>();
  if (place != static_cast<uint8_t>(RequestPlace::kHeld) && place != static_cast<uint8_t>(RequestPlace::kInFlight)) {
    refuse("a request at place " + std::to_string(place));
  }
  request.place = static_cast<RequestPlace>(place);
  const auto segment_count = in.take<uint32_t>();
  request.sequence = in.take<uint64_t>();
  request.sector = in.take<uint64_t>();
  const auto byte_count = in.take<uint64_t>();
  request.token = in.take<uint64_t>();
  if ((request.sequence != 0) != (request.kind != RequestKind::kDiskRead)) {
    refuse("a request of kind " + std::to_string(kind) + " with sequence " + std::to_string(request.sequence));
  }
  if (segment_count > RequestQueue::kMaxChainSegments || segment_count > in.left() / kSegmentBytes) {
    refuse("a request with " + std::to_string(segment_count) + " segments");
  }
  request.writable.reserve(segment_count);
  uint64_t writable_bytes = 0;
  for (uint32_t i = 0; i < segment_count; i++) {
    const auto address = in.take<uint64_t>();
    const auto length = in.take<uint32_t>();
    writable_bytes += length;
    if (length == 0) refuse("an empty segment");
    request.writable.push_back({address, length});
  }
  if (writable_bytes > RequestQueue::kMaxChainBytes || byte_count > RequestQueue::kMaxChainBytes) {
    refuse("a request with " + std::to_string(byte_count) + " bytes to write and " + std::to_string(writable_bytes) +
           " bytes to read");
  }
  request.bytes = in.take_bytes(byte_count);
  return request;
}

CutQueue decode_queue(Reader& in, uint32_t queue_count) {
  CutQueue queue;
  queue.index = in.take<uint32_t>();
  if (queue.index >= queue_count) refuse("queue " + std::to_string(queue.index) + " of " + std::to_string(queue_count));
  queue.size = in.take<uint16_t>();
  if (queue.size == 0 || queue.size > RequestQueue::kMaxSize || !std::has_single_bit(queue.size)) {
    refuse("a queue of size " + std::to_string(queue.size));
  }
  queue.last_available = in.take<uint16_t>();
  queue.used = in.take<uint16_t>();
  const auto kept_count = in.take<uint16_t>();
  const auto unread_count = in.take<uint16_t>();
  const auto pending_count = in.take<uint16_t>();
  Heads heads(queue.size);  // bounds all three counts
  for (uint16_t i = 0; i < kept_count; i++) {
    CutQueue::Kept kept;
    kept.head = heads.check(in.take<uint16_t>());
    kept.operation = in.take<uint16_t>();
    kept.written = in.take<uint32_t>();
    kept.token = in.take<uint64_t>();
    queue.kept.push_back(kept);
  }
  for (uint16_t i = 0; i < unread_count; i++) queue.unread.push_back(heads.check(in.take<uint16_t>()));
  for (uint16_t i = 0; i < pending_count; i++) queue.pending.push_back(decode_request(in, heads));
  return queue;
}

}  // namespace

TracedBytes encode_ring_state(const RingState& state) {
  Writer out(encoded_bytes(state));
  out.put(kMagic);
  out.put(kRingStateVersion);
  out.put(static_cast<uint8_t>(state.kind));
  out.put(static_cast<uint8_t>(state.addresses.size()));
  out.put(state.features);
  out.put(state.queue_count);
  out.put(static_cast<uint32_t>(state.queues.size()));
  out.put(state.unanswered_writes);
  out.put(state.unflushed.changes);
  out.put(state.unflushed.lost);
  for (const uint32_t address : state.addresses) out.put(address);
  for (const CutQueue& queue : state.queues) {
    out.put(queue.index);
    out.put(queue.size);
    out.put(queue.last_available);
    out.put(queue.used);
    out.put(static_cast<uint16_t>(queue.kept.size()));
    out.put(static_cast<uint16_t>(queue.unread.size()));
    out.put(static_cast<uint16_t>(queue.pending.size()));
    for (const CutQueue::Kept& kept : queue.kept) {
      out.put(kept.head);
      out.put(kept.operation);
      out.put(kept.written);
      out.put(kept.token);
    }
    for (const uint16_t head : queue.unread) out.put(head);
    for (const CutRequest& request : queue.pending) encode_request(out, request);
  }
  out.put(static_cast<uint32_t>(state.answered.size()));
  for (const CutAnswered& answered : state.answered) {
    out.put(answered.queue);
    out.put(static_cast<uint32_t>(answered.bytes.size()));
    out.put(answered.sequence);
    out.put(answered.bytes, answered.shared);
  }
  return out.take();
}

RingState decode_ring_state(std::span<const uint8_t> bytes) {
  Reader in(bytes);
  if (in.take<uint32_t>() != kMagic) refuse("it does not start like one");
  const auto version = in.take<uint16_t>();
  if (version != kRingStateVersion) {
    refuse("version " + std::to_string(version) + ", expected " + std::to_string(kRingStateVersion));
  }
  RingState state{};
  const auto kind = in.take<uint8_t>();
  if (kind != static_cast<uint8_t>(RingDeviceKind::kDisk) && kind != static_cast<uint8_t>(RingDeviceKind::kNic)) {
    refuse("a device of kind " + std::to_string(kind));
  }
  state.kind = static_cast<RingDeviceKind>(kind);
  const auto address_count = in.take<uint8_t>();
  state.features = in.take<uint64_t>();
  state.queue_count = in.take<uint32_t>();
  const auto placed = in.take<uint32_t>();
  if (placed > state.queue_count) refuse(std::to_string(placed) + " queues of " + std::to_string(state.queue_count));
  state.unanswered_writes = in.take<uint32_t>();
  state.unflushed.changes = in.take<uint32_t>();
  state.unflushed.lost = in.take<uint32_t>();
  if (state.unflushed.lost > state.unflushed.changes) {
    refuse(std::to_string(state.unflushed.lost) + " changes lost of " + std::to_string(state.unflushed.changes));
  }
  for (uint8_t i = 0; i < address_count; i++) state.addresses.push_back(in.take<uint32_t>());
  uint32_t next = 0;
  for (uint32_t i = 0; i < placed; i++) {
    CutQueue queue = decode_queue(in, state.queue_count);
    if (queue.index < next) refuse("queue " + std::to_string(queue.index) + " comes out of order");
    next = queue.index + 1;
    state.queues.push_back(std::move(queue));
  }
  const auto answered_count = in.take<uint32_t>();
  for (uint32_t i = 0; i < answered_count; i++) {
    CutAnswered answered;
    answered.queue = in.take<uint32_t>();
    const auto byte_count = in.take<uint32_t>();
    answered.sequence = in.take<uint64_t>();
    if (answered.queue >= state.queue_count || answered.sequence == 0) {
      refuse("sequence " + std::to_string(answered.sequence) + " of queue " + std::to_string(answered.queue) +
             " is answered");
    }
    answered.bytes = in.take_bytes(byte_count);
    state.answered.push_back(answered);
  }
  if (in.left() != 0) refuse(std::to_string(in.left()) + " bytes behind its end");
  return state;
}

bool may_land_late(const RingState& state) noexcept {
  const auto changes_disk = [](const CutRequest& request) {
    return request.kind == RequestKind::kDiskWrite || request.kind == RequestKind::kDiskDiscard ||
           request.kind == RequestKind::kDiskWriteZeroes;
  };
  const auto has_change = [&](const CutQueue& queue) { return std::ranges::any_of(queue.pending, changes_disk); };
  return state.unanswered_writes != 0 || std::ranges::any_of(state.queues, has_change);
}

}  // namespace kemari
