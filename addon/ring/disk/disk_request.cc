#include "ring/disk/disk_request.h"

#include <algorithm>
#include <cstring>

#include "error.h"

#include "ring/disk/io_vector.h"

namespace kemari {
namespace {

// Copies up to `count` bytes from the front of `segments`; returns how many there were.
size_t copy_front(std::span<const Segment> segments, void* target, size_t count) {
  auto* to = static_cast<uint8_t*>(target);
  size_t copied = 0;
  for (const Segment& segment : segments) {
    const size_t part = std::min<size_t>(count - copied, segment.length);
    std::memcpy(to + copied, segment.hva, part);
    copied += part;
    if (copied == count) break;
  }
  return copied;
}

// The pieces of `segments` without the first `skip` bytes.
void pieces_behind(std::span<const Segment> segments, size_t skip, std::vector<iovec>& pieces) {
  for (const Segment& segment : segments) {
    const size_t part = std::min<size_t>(skip, segment.length);
    skip -= part;
    io_append(pieces, segment.hva + part, segment.length - part);
  }
}

// Where the answer goes, and how much before it; false when there is no place.
bool parse_writable(DiskRequest& request) {
  const Chain& chain = request.chain;
  request.data.clear();
  request.bytes.clear();
  request.data_in_bytes = request.data_out_bytes = 0;
  request.range_count = request.next_range = 0;
  if (chain.writable.empty()) return false;
  const Segment& last = chain.writable.back();
  request.status = last.hva + last.length - 1;
  request.data_in_bytes = static_cast<uint32_t>(chain.writable_bytes() - 1);
  return true;
}

// What the device may write, without the status.
void take_writable(DiskRequest& request) {
  const Segment& last = request.chain.writable.back();
  for (const Segment& segment : request.chain.writable) {
    io_append(request.data, segment.hva, segment.length - (&segment == &last ? 1 : 0));
  }
}

uint32_t type_of(RequestKind kind) {
  switch (kind) {
    case RequestKind::kDiskRead:
      return VIRTIO_BLK_T_IN;
    case RequestKind::kDiskWrite:
      return VIRTIO_BLK_T_OUT;
    case RequestKind::kDiskFlush:
      return VIRTIO_BLK_T_FLUSH;
    case RequestKind::kDiskDiscard:
      return VIRTIO_BLK_T_DISCARD;
    case RequestKind::kDiskWriteZeroes:
      return VIRTIO_BLK_T_WRITE_ZEROES;
    case RequestKind::kFrame:
      break;
  }
  fail("KEMARI_RING_STATE", "a disk's part of a checkpoint has a frame");
}

}  // namespace

Parsed parse(DiskRequest& request) {
  if (!parse_writable(request)) return Parsed::kNoStatus;
  const Chain& chain = request.chain;
  virtio_blk_outhdr header{};
  if (copy_front(chain.readable, &header, sizeof header) != sizeof header) return Parsed::kShortHeader;
  request.type = header.type;
  request.sector = header.sector;
  request.data_out_bytes = static_cast<uint32_t>(chain.readable_bytes() - sizeof header);

  if (header.type == VIRTIO_BLK_T_OUT) {
    pieces_behind(chain.readable, sizeof header, request.bytes);
  } else if (header.type == VIRTIO_BLK_T_IN || header.type == VIRTIO_BLK_T_GET_ID) {
    take_writable(request);
  }
  return Parsed::kOk;
}

void parse_again(DiskRequest& request, const CutRequest& cut) {
  constexpr size_t kRangeBytes = sizeof(virtio_blk_discard_write_zeroes);
  if (!parse_writable(request)) fail("KEMARI_RING_STATE", "a disk request of a checkpoint has no place for its status");
  request.type = type_of(cut.kind);
  request.sector = cut.sector;
  request.data_out_bytes = static_cast<uint32_t>(cut.bytes.size());
  switch (cut.kind) {
    case RequestKind::kDiskWrite: {
      // SAFETY: only read from; iovec has no const form.
      const iovec bytes{const_cast<uint8_t*>(cut.bytes.data()), cut.bytes.size()};
      freeze_bytes(request, {&bytes, 1});
      if (request.frozen_bytes != 0) request.bytes.push_back({request.frozen.get(), request.frozen_bytes});
      return;
    }
    case RequestKind::kDiskDiscard:
    case RequestKind::kDiskWriteZeroes:
      if (cut.bytes.empty() || cut.bytes.size() % kRangeBytes != 0 || cut.bytes.size() > sizeof request.ranges) break;
      request.range_count = static_cast<uint32_t>(cut.bytes.size() / kRangeBytes);
      std::memcpy(request.ranges.data(), cut.bytes.data(), cut.bytes.size());
      return;
    case RequestKind::kDiskRead:
      take_writable(request);
      [[fallthrough]];
    default:
      if (cut.bytes.empty()) return;
  }
  fail("KEMARI_RING_STATE",
       "a disk request of a checkpoint has " + std::to_string(cut.bytes.size()) + " bytes, which its kind cannot have");
}

std::vector<iovec> outbound_pieces(DiskRequest& request) {
  std::vector<iovec> pieces;
  if (request.type == VIRTIO_BLK_T_OUT) {
    pieces_behind(request.chain.readable, sizeof(virtio_blk_outhdr), pieces);
  } else if (request.range_count != 0) {
    pieces.push_back({request.ranges.data(), request.range_count * sizeof request.ranges[0]});
  }
  return pieces;
}

uint8_t parse_ranges(DiskRequest& request) {
  constexpr size_t kRangeBytes = sizeof(virtio_blk_discard_write_zeroes);
  const uint32_t bytes = request.data_out_bytes;
  if (bytes == 0 || bytes % kRangeBytes != 0 || bytes / kRangeBytes > kMaxDiscardRanges) return VIRTIO_BLK_S_IOERR;
  request.range_count = bytes / kRangeBytes;

  std::array<uint8_t, sizeof(virtio_blk_outhdr) + sizeof request.ranges> all;
  (void)copy_front(request.chain.readable, all.data(), sizeof(virtio_blk_outhdr) + bytes);
  std::memcpy(request.ranges.data(), all.data() + sizeof(virtio_blk_outhdr), bytes);
  return VIRTIO_BLK_S_OK;
}

uint8_t check_ranges(const DiskRequest& request, const BlockGeometry& geometry) {
  const bool zeroes = request.type == VIRTIO_BLK_T_WRITE_ZEROES;
  const uint32_t known_flags = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
  const uint64_t most = zeroes ? kMaxWriteZeroesBytes : kMaxDiscardBytes;
  for (uint32_t i = 0; i < request.range_count; ++i) {
    const virtio_blk_discard_write_zeroes& range = request.ranges[i];
    if ((range.flags & ~known_flags) != 0) return VIRTIO_BLK_S_UNSUPP;
    const uint64_t length = uint64_t{range.num_sectors} * kSectorBytes;
    if (length > most || !inside(range.sector, length, geometry)) return VIRTIO_BLK_S_IOERR;
  }
  return VIRTIO_BLK_S_OK;
}

bool inside(uint64_t sector, uint64_t bytes, const BlockGeometry& geometry) noexcept {
  const uint64_t capacity = geometry.size_bytes / kSectorBytes;
  if (bytes % geometry.logical_block_bytes != 0) return false;
  if (sector > capacity || bytes / kSectorBytes > capacity - sector) return false;
  return sector * kSectorBytes % geometry.logical_block_bytes == 0;
}

std::string describe(const DiskRequest& request) {
  const char* what = "request";
  switch (request.type) {
    case VIRTIO_BLK_T_IN:
      what = "read";
      break;
    case VIRTIO_BLK_T_OUT:
      what = "write";
      break;
    case VIRTIO_BLK_T_FLUSH:
      return "flush";
    case VIRTIO_BLK_T_DISCARD:
      what = "discard";
      break;
    case VIRTIO_BLK_T_WRITE_ZEROES:
      what = "zeroing";
      break;
  }
  return std::string(what) + " of " + std::to_string(request.length) + " bytes at byte " +
         std::to_string(request.offset);
}

}  // namespace kemari
