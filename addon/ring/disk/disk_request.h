// One virtio-blk request from chain to answer (virtio 1.2 section 5.2.6), copied out of guest memory before it is
// looked at.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "ring/disk/block_backend.h"
#include "ring/disk/virtio_blk.h"
#include "ring/output_gate.h"
#include "ring/request_queue.h"
#include "ring/ring_state.h"

namespace kemari {

// Limits of one request, told to the driver in the configuration space.
inline constexpr uint32_t kSegMax = 126;  // data segments: QEMU's smallest usual queue, 128, less header and status
inline constexpr uint32_t kMaxDiscardRanges = 16;
inline constexpr uint64_t kMaxDiscardBytes = 1ull << 30;        // a range
inline constexpr uint64_t kMaxWriteZeroesBytes = 256ull << 20;  // a range; a file system without help writes them all
static_assert(kSegMax + 2 <= RequestQueue::kMaxChainSegments);

// Owned by the disk, used again and again. As an Outbound it may wait at the gate, as a BlockRequest it is with the
// back-end; never both.
struct DiskRequest final : Outbound, BlockRequest {
  Chain chain;
  uint32_t type = 0;
  uint64_t sector = 0;
  uint8_t* status = nullptr;    // where the answer goes; the last writable byte of the chain
  uint32_t data_in_bytes = 0;   // writable bytes before it
  uint32_t data_out_bytes = 0;  // readable bytes behind the header
  std::array<virtio_blk_discard_write_zeroes, kMaxDiscardRanges> ranges;
  uint32_t range_count = 0;
  uint32_t next_range = 0;
  bool is_taken = false;  // by a request of the guest
  DiskRequest* next_free = nullptr;
};

// Splits the chain into header, data and status. `data` gets what the device may write (for IN and GET_ID), `bytes`
// what leaves the guest (for OUT).
enum class Parsed : uint8_t {
  kOk = 1,
  kShortHeader = 2,  // answered with an I/O error
  kNoStatus = 3,     // cannot be answered
};
Parsed parse(DiskRequest& request);

// Puts together what parse() and parse_ranges() once made of a request that comes from a checkpoint; the chain has its
// writable segments and nothing else. Throws KEMARI_RING_STATE when they could not have made it.
void parse_again(DiskRequest& request, const CutRequest& cut);

// Copies the ranges of a DISCARD or WRITE_ZEROES out of the chain; VIRTIO_BLK_S_OK or the answer.
uint8_t parse_ranges(DiskRequest& request);
// Checks them against the disk. Returns VIRTIO_BLK_S_OK or the answer.
uint8_t check_ranges(const DiskRequest& request, const BlockGeometry& geometry);

// What leaves the guest with a request whose bytes are not frozen yet, also when it is with the back-end.
std::vector<iovec> outbound_pieces(DiskRequest& request);

// Whether [sector, sector + bytes / 512) is whole logical blocks inside the disk.
bool inside(uint64_t sector, uint64_t bytes, const BlockGeometry& geometry) noexcept;

// For people: "write of 4096 bytes at byte 8192".
std::string describe(const DiskRequest& request);

}  // namespace kemari
