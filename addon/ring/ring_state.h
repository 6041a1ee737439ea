// A device's part of a checkpoint: where its queues stand and what was popped and not completed. All integers are
// little-endian; the layout is that of the writer and the reader in ring_state.cc:
//
//   device   magic u32 "KRNG", version u16, kind u8, address count u8, features u64, queue count u32, placed queue
//            count u32, unanswered writes u32, unflushed changes u32, lost changes u32,
//            then addresses of 4 octets each: the IPv4 addresses that the guest uses, of a NIC
//   queue    index u32, size u16, last available index u16, used index u16, kept count u16, unread count u16,
//            pending count u16
//   kept     head u16, operation u16, written u32, token u64   in the order of completion
//   unread   head u16                                       oldest first
//   pending  head u16, kind u8, place u8, segment count u32, sequence u64, sector u64, byte count u64, token u64,
//            then segments of {address u64, length u32}, then the bytes; oldest first
//   answered count u32 behind the queues, then each: queue u32, byte count u32, sequence u64, the bytes; oldest first
//
// A queue that has nothing pending and is not suspended is left out: QEMU's own state says where it starts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "memory/traced_bytes.h"

namespace kemari {

enum class RingDeviceKind : uint8_t { kDisk = 1, kNic = 2 };

// What a pending request is. The first values are those of OutboundKind.
enum class RequestKind : uint8_t {
  kDiskWrite = 1,
  kDiskFlush = 2,
  kDiskDiscard = 3,
  kDiskWriteZeroes = 4,
  kFrame = 5,
  kDiskRead = 6,
};

enum class RequestPlace : uint8_t {
  kHeld = 1,      // at the gate
  kInFlight = 2,  // with the host, whatever has become of it there
};

// A piece of a chain that the device writes to, as the queue finds it again: by guest physical address, or by grant.
struct CutSegment {
  uint64_t address;
  uint32_t length;  // bytes, never 0

  bool operator==(const CutSegment&) const = default;
};

struct CutRequest {
  uint16_t head = 0;
  RequestKind kind = RequestKind::kDiskRead;
  RequestPlace place = RequestPlace::kInFlight;
  uint64_t sequence = 0;  // at the gate; 0: not outbound
  uint64_t sector = 0;    // of a disk's read or write
  uint64_t token = 0;     // the driver's name for it, which its answer repeats; 0 where the head says all
  std::vector<CutSegment> writable;
  // What leaves: data of a write, ranges of a discard or zeroing, header and frame. The memory is another's: of the
  // frozen request where this is written, of the checkpoint where it was read.
  std::span<const uint8_t> bytes;
  SharedBytes shared;  // the same with who keeps them, where this is written and that is known
};

struct CutQueue {
  struct Kept {
    uint16_t head = 0;
    uint16_t operation = 0;  // what an answer repeats beside the token, where it does
    uint32_t written = 0;    // bytes, or what else the queue answers with
    uint64_t token = 0;      // as that of a pending request

    bool operator==(const Kept&) const = default;
  };

  uint32_t index = 0;
  uint16_t size = 0;
  uint16_t last_available = 0;
  uint16_t used = 0;
  std::vector<Kept> kept;        // completed; the guest has not been told
  std::vector<uint16_t> unread;  // heads that a former back-end had popped and this one has not looked at
  std::vector<CutRequest> pending;
};

// What the guest has back already and has not left: a frame that was copied when the gate held it. No chain is waiting
// for it.
struct CutAnswered {
  uint32_t queue = 0;
  uint64_t sequence = 0;
  std::span<const uint8_t> bytes;  // header and frame; another's memory, as CutRequest::bytes
  SharedBytes shared = {};         // as CutRequest::shared
};

// Writes, discards and zeroings of a disk that storage has answered, and that no flush has reached since. Whoever takes
// over goes on counting from there.
struct UnflushedChanges {
  uint32_t changes = 0;
  uint32_t lost = 0;  // of them, those that storage may have lost, of which the guest was not told yet

  bool operator==(const UnflushedChanges&) const = default;
};

struct RingState {
  RingDeviceKind kind;
  uint64_t features = 0;  // that the driver accepted
  uint32_t queue_count = 0;
  // Writes, discards and zeroings that failed without an answer of storage, as with a connection that was lost: pending
  // no more, but they may land at any later time. Not carried on by whoever takes over.
  uint32_t unanswered_writes = 0;
  UnflushedChanges unflushed;
  std::vector<CutQueue> queues;
  std::vector<uint32_t> addresses;  // big-endian, at most 255
  std::vector<CutAnswered> answered;
};

inline constexpr uint16_t kRingStateVersion = 4;

TracedBytes encode_ring_state(const RingState& state);

// The bytes are a peer's. Throws KEMARI_RING_STATE unless they are what the layout says, to the last byte, with heads
// inside their queue, each at most once, and lengths that a chain can have. `bytes` must outlive the result.
RingState decode_ring_state(std::span<const uint8_t> bytes);

// Whether storage may yet carry out something that changes what a disk holds: a flush or a read that lands late harms
// nobody.
bool may_land_late(const RingState& state) noexcept;

}  // namespace kemari
