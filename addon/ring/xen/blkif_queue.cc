#include "ring/xen/blkif_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "error.h"

namespace kemari::xen {

namespace {

constexpr uint32_t kSectorsPerPage = kPageBytes / kSectorBytes;
constexpr uint64_t kMaxRangeSectors = kMaxDiscardBytes / kSectorBytes;
constexpr uint32_t kRefused = UINT32_MAX;  // no type of virtio's

// What a request in a ring may be read as: all are as long as an entry, or shorter.
template <typename Kind>
Kind as(const blkif_request& request) {
  static_assert(sizeof(Kind) <= sizeof request);
  Kind kind;
  std::memcpy(&kind, &request, sizeof kind);
  return kind;
}

int16_t answer_of(uint8_t status, bool is_refused) {
  if (is_refused) return BLKIF_RSP_ERROR;
  switch (status) {
    case VIRTIO_BLK_S_OK:
      return BLKIF_RSP_OKAY;
    case VIRTIO_BLK_S_UNSUPP:
      return BLKIF_RSP_EOPNOTSUPP;
    default:
      return BLKIF_RSP_ERROR;
  }
}

// What the driver called a request of a checkpoint.
uint8_t operation_of(RequestKind kind) {
  switch (kind) {
    case RequestKind::kDiskRead:
      return BLKIF_OP_READ;
    case RequestKind::kDiskWrite:
      return BLKIF_OP_WRITE;
    case RequestKind::kDiskFlush:
      return BLKIF_OP_FLUSH_DISKCACHE;
    case RequestKind::kDiskDiscard:
      return BLKIF_OP_DISCARD;
    default:
      fail("KEMARI_RING_STATE", "a checkpoint has a request that no block driver of Xen's can send");
  }
}

}  // namespace

void BlkifQueue::set_base(uint16_t last_available_index) {
  AttachedQueue::set_base(last_available_index);
  slots_.resize(size());
  for (Slot& slot : slots_) slot.is_taken = false;
  taken_ = 0;
}

void BlkifQueue::start() {
  AttachedQueue::start();
  const uint32_t outstanding = ring().req_cons() - ring().rsp_prod();
  if (outstanding == taken_) return;
  stop();
  fail("KEMARI_RING_STATE", "the ring has " + std::to_string(outstanding) + " requests without an answer, " +
                                std::to_string(taken_) + " are known");
}

BlkifQueue::Slot& BlkifQueue::take_slot() {
  // There is one for each entry, and each entry has at most one request that is not answered.
  const auto slot = std::ranges::find_if(slots_, [](const Slot& one) { return !one.is_taken; });
  KEMARI_ASSERT(slot != slots_.end());
  return clear(*slot);
}

BlkifQueue::Slot& BlkifQueue::clear(Slot& slot) {
  slot.is_taken = true;
  slot.index.reset();
  slot.is_refused = false;
  slot.pieces.clear();
  slot.ranges.clear();
  slot.data_bytes = 0;
  slot.header = {};
  slot.status = VIRTIO_BLK_S_OK;
  taken_++;
  return slot;
}

PopResult BlkifQueue::pop(Chain& chain) {
  blkif_request request;
  const uint32_t index = ring().req_cons();
  const PopResult result = pop_entry(&request);
  if (result != PopResult::kChain) return result;
  Slot& slot = take_slot();
  slot.index = index;
  slot.id = request.id;
  slot.operation = request.operation;
  if (!parse(slot, request)) {
    slot.is_refused = true;
    slot.header.type = kRefused;
    slot.data_bytes = 0;
    slot.ranges.clear();
  }
  chain.head = static_cast<uint16_t>(&slot - slots_.data());
  build(slot, chain);
  return PopResult::kChain;
}

bool BlkifQueue::parse(Slot& slot, const blkif_request& request) {
  switch (request.operation) {
    case BLKIF_OP_READ:
    case BLKIF_OP_WRITE:
      if (request.nr_segments > BLKIF_MAX_SEGMENTS_PER_REQUEST) return false;
      return parse_transfer(slot, request.operation, request.sector_number, {request.seg, request.nr_segments});
    case BLKIF_OP_FLUSH_DISKCACHE:
      slot.header.type = VIRTIO_BLK_T_FLUSH;
      return request.nr_segments == 0;
    case BLKIF_OP_DISCARD:
      return parse_discard(slot, as<blkif_request_discard>(request));
    case BLKIF_OP_INDIRECT:
      return parse_indirect(slot, as<blkif_request_indirect>(request));
    default:
      slot.header.type = kRefused;  // not supported, which the disk says
      return true;
  }
}

bool BlkifQueue::parse_indirect(Slot& slot, const blkif_request_indirect& request) {
  slot.id = request.id;
  slot.operation = request.indirect_op;  // what the answer names
  const uint32_t count = request.nr_segments;
  if (request.indirect_op != BLKIF_OP_READ && request.indirect_op != BLKIF_OP_WRITE) return false;
  if (count == 0 || count > kMaxIndirectSegments) return false;
  static_assert(kMaxIndirectSegments <= kSegmentsPerIndirectPage, "all of them lie in one page");
  std::vector<blkif_request_segment> segments(count);
  const GrantPiece table{request.indirect_grefs[0], 0, static_cast<uint16_t>(count * sizeof(blkif_request_segment))};
  // SAFETY: the segments' own bytes.
  if (!grants_.copy_in({&table, 1}, reinterpret_cast<uint8_t*>(segments.data()))) return false;
  return parse_transfer(slot, request.indirect_op, request.sector_number, segments);
}

bool BlkifQueue::parse_transfer(Slot& slot, uint8_t operation, uint64_t sector,
                                std::span<const blkif_request_segment> segments) {
  if (segments.empty()) return false;
  const bool is_write = operation == BLKIF_OP_WRITE;
  slot.header.type = is_write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
  slot.header.sector = sector;
  for (const blkif_request_segment& segment : segments) {
    if (segment.first_sect > segment.last_sect || segment.last_sect >= kSectorsPerPage) return false;
    const uint32_t length = (segment.last_sect - segment.first_sect + 1u) * kSectorBytes;
    slot.pieces.push_back(
        {segment.gref, static_cast<uint16_t>(segment.first_sect * kSectorBytes), static_cast<uint16_t>(length)});
    slot.data_bytes += length;
  }
  return make_room(slot) && (!is_write || grants_.copy_in(slot.pieces, slot.data.get()));
}

// The driver may ask for the whole disk at once.
bool BlkifQueue::parse_discard(Slot& slot, const blkif_request_discard& request) {
  slot.header.type = VIRTIO_BLK_T_DISCARD;
  if ((request.flag & BLKIF_DISCARD_SECURE) != 0 || request.nr_sectors == 0) return false;
  if (request.nr_sectors > kMaxRangeSectors * kMaxDiscardRanges) return false;
  if (request.sector_number > UINT64_MAX - request.nr_sectors) return false;
  for (uint64_t done = 0; done < request.nr_sectors;) {
    const uint64_t count = std::min(request.nr_sectors - done, kMaxRangeSectors);
    slot.ranges.push_back({request.sector_number + done, static_cast<uint32_t>(count), 0});
    done += count;
  }
  return true;
}

// Aligned as every storage wants it. Rounded up, so that a ring soon has what it needs.
bool BlkifQueue::make_room(Slot& slot) {
  if (slot.data_bytes <= slot.room_bytes) return true;
  const uint32_t bytes = (slot.data_bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  slot.data.reset(static_cast<uint8_t*>(std::aligned_alloc(kPageBytes, bytes)));
  slot.room_bytes = slot.data ? bytes : 0;
  return slot.data != nullptr;
}

void BlkifQueue::build(Slot& slot, Chain& chain) {
  chain.readable.clear();
  chain.writable.clear();
  // SAFETY of both: trivially copyable; bytes of it are what the disk reads.
  chain.readable.push_back({reinterpret_cast<uint8_t*>(&slot.header), sizeof slot.header});
  if (!slot.ranges.empty()) {
    chain.readable.push_back({reinterpret_cast<uint8_t*>(slot.ranges.data()),
                              static_cast<uint32_t>(slot.ranges.size() * sizeof slot.ranges[0])});
  } else if (slot.data_bytes != 0) {
    (slot.header.type == VIRTIO_BLK_T_OUT ? chain.readable : chain.writable)
        .push_back({slot.data.get(), slot.data_bytes});
  }
  chain.writable.push_back({&slot.status, sizeof slot.status});
}

void BlkifQueue::unpop(uint16_t count) noexcept {
  ring().unpop(count);
  for (Slot& slot : slots_) {
    if (!slot.is_taken || !slot.index || *slot.index - ring().req_cons() >= count) continue;
    slot.is_taken = false;
    taken_--;
  }
}

void BlkifQueue::landed(uint16_t head, std::span<const Segment>, uint64_t) noexcept {
  Slot& slot = slots_[head];
  if (slot.is_refused || slot.header.type != VIRTIO_BLK_T_IN || slot.status != VIRTIO_BLK_S_OK) return;
  if (!grants_.copy_out(slot.data.get(), slot.pieces)) slot.status = VIRTIO_BLK_S_IOERR;
}

void BlkifQueue::push_used(uint16_t head, uint32_t) noexcept {
  Slot& slot = slots_[head];
  KEMARI_ASSERT(is_started() && slot.is_taken);
  blkif_response response{};
  response.id = slot.id;
  response.operation = slot.operation;
  response.status = answer_of(slot.status, slot.is_refused);
  ring().push(&response, sizeof response);
  slot.is_taken = false;
  taken_--;
}

void BlkifQueue::describe(uint16_t head, std::span<const Segment>, CutRequest& cut) const {
  const Slot& slot = slots_[head];
  cut.token = slot.id;
  if (slot.header.type != VIRTIO_BLK_T_IN) return;
  for (const GrantPiece& piece : slot.pieces) {
    cut.writable.push_back({uint64_t{piece.ref} * kPageBytes + piece.offset, piece.length});
  }
}

void BlkifQueue::describe_kept(CutQueue::Kept& kept) const {
  const Slot& slot = slots_[kept.head];
  kept.token = slot.id;
  kept.operation = slot.operation;
  kept.written = slot.is_refused ? VIRTIO_BLK_S_IOERR : slot.status;
}

BlkifQueue::Slot& BlkifQueue::adopt_slot(uint16_t head, uint64_t id, uint8_t operation) {
  if (head >= slots_.size() || slots_[head].is_taken) {
    fail("KEMARI_RING_STATE",
         "a checkpoint has a request at " + std::to_string(head) + " of a ring of " + std::to_string(slots_.size()));
  }
  Slot& slot = clear(slots_[head]);
  slot.id = id;
  slot.operation = operation;
  return slot;
}

std::vector<Segment> BlkifQueue::adopt(const CutRequest& cut) {
  Slot& slot = adopt_slot(cut.head, cut.token, operation_of(cut.kind));
  const bool is_read = cut.kind == RequestKind::kDiskRead;
  if (is_read == cut.writable.empty()) {
    fail("KEMARI_RING_STATE", "a request of a checkpoint has " + std::to_string(cut.writable.size()) +
                                  " pieces to read to, which its kind cannot have");
  }
  slot.header.type = is_read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
  for (const CutSegment& segment : cut.writable) {
    const uint64_t offset = segment.address % kPageBytes;
    const bool is_piece = segment.length != 0 && segment.length <= kPageBytes - offset;
    if (segment.address / kPageBytes > UINT32_MAX || !is_piece) {
      fail("KEMARI_RING_STATE", "a request of a checkpoint reads to what is no part of a granted page");
    }
    slot.pieces.push_back({static_cast<uint32_t>(segment.address / kPageBytes), static_cast<uint16_t>(offset),
                           static_cast<uint16_t>(segment.length)});
    slot.data_bytes += segment.length;
  }
  if (!make_room(slot)) fail("KEMARI_RING_STATE", "no memory for a request of a checkpoint");
  std::vector<Segment> writable;
  if (is_read) writable.push_back({slot.data.get(), slot.data_bytes});
  writable.push_back({&slot.status, sizeof slot.status});
  return writable;
}

void BlkifQueue::adopt_kept(const CutQueue::Kept& kept) {
  adopt_slot(kept.head, kept.token, static_cast<uint8_t>(kept.operation)).status = static_cast<uint8_t>(kept.written);
}

}  // namespace kemari::xen
