// Fuzz target: chains of any shape and content against the disk's request parser, on a disk of any size. What the
// parser lets through is carried out on a small file, so that an address it got wrong is met by AddressSanitizer.
#include "ring/disk/disk_request.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "error.h"
#include "input.h"
#include "ring/disk/io_vector.h"

namespace kemari::fuzz {
namespace {

constexpr size_t kMaxSegments = 12;
constexpr size_t kMaxSegmentBytes = 2048;
constexpr uint64_t kFileBytes = 64 << 10;

// The guest's buffers: each on the heap by itself, so that one byte too far is seen.
class Buffers {
 public:
  Segment add(Input& input, std::span<const uint8_t> content) {
    const auto length = static_cast<uint32_t>(1 + input.word() % kMaxSegmentBytes);
    auto& buffer = buffers_.emplace_back(std::make_unique<uint8_t[]>(length));
    std::copy_n(content.begin(), std::min<size_t>(content.size(), length), buffer.get());
    return {buffer.get(), length};
  }

 private:
  std::vector<std::unique_ptr<uint8_t[]>> buffers_;
};

Chain make_chain(Buffers& buffers, Input& input) {
  Chain chain;
  const uint8_t shape = input.byte();
  for (size_t i = 0; i < (shape & 15) % kMaxSegments; ++i) {
    chain.readable.push_back(buffers.add(input, input.take_bytes(input.byte())));
  }
  for (size_t i = 0; i < (shape >> 4) % kMaxSegments; ++i) chain.writable.push_back(buffers.add(input, {}));
  return chain;
}

BlockGeometry make_geometry(Input& input) {
  BlockGeometry geometry;
  const uint8_t shape = input.byte();
  geometry.logical_block_bytes = (shape & 1) != 0 ? 4096 : 512;
  geometry.size_bytes = (shape & 2) != 0 ? input.take<uint64_t>() >> 1 : kFileBytes;
  geometry.read_only = (shape & 4) != 0;
  return geometry;
}

// The same question as inside(), with arithmetic that cannot overflow.
bool is_inside(uint64_t sector, uint64_t bytes, const BlockGeometry& geometry) {
  const auto begin = static_cast<unsigned __int128>(sector) * 512;
  return begin % geometry.logical_block_bytes == 0 && bytes % geometry.logical_block_bytes == 0 &&
         begin + bytes <= geometry.size_bytes / 512 * 512;
}

void carry_out(const DiskRequest& request, const BlockGeometry& geometry) {
  static const int file = memfd_create("fuzz-disk", MFD_CLOEXEC);
  static const bool sized = ftruncate(file, kFileBytes) == 0;
  KEMARI_ASSERT(sized);
  const bool write = request.type == VIRTIO_BLK_T_OUT;
  std::vector<iovec> pieces = write ? request.bytes : request.data;
  const uint64_t total = io_bytes(pieces);
  const bool is_allowed = inside(request.sector, total, geometry);
  KEMARI_ASSERT(is_allowed == is_inside(request.sector, total, geometry));
  if (!is_allowed || geometry.size_bytes != kFileBytes) return;
  std::vector<uint8_t> bytes(total);
  const auto offset = static_cast<off_t>(request.sector * 512);
  if (write) {
    io_gather(pieces, bytes.data(), bytes.size());
    KEMARI_ASSERT(pwrite(file, bytes.data(), total, offset) == static_cast<ssize_t>(total));
  } else {
    KEMARI_ASSERT(pread(file, bytes.data(), total, offset) == static_cast<ssize_t>(total));
    io_scatter(pieces, bytes.data(), bytes.size());
  }
  io_consume(pieces, total / 2);
  KEMARI_ASSERT(io_bytes(pieces) == total - total / 2);
}

void try_ranges(DiskRequest& request, const BlockGeometry& geometry) {
  uint8_t answer = parse_ranges(request);
  if (answer == VIRTIO_BLK_S_OK) answer = check_ranges(request, geometry);
  KEMARI_ASSERT(answer == VIRTIO_BLK_S_OK || answer == VIRTIO_BLK_S_IOERR || answer == VIRTIO_BLK_S_UNSUPP);
  if (answer != VIRTIO_BLK_S_OK) return;
  KEMARI_ASSERT(request.range_count >= 1 && request.range_count <= kMaxDiscardRanges);
  for (uint32_t i = 0; i < request.range_count; ++i) {
    const auto& range = request.ranges[i];
    KEMARI_ASSERT(is_inside(range.sector, uint64_t{range.num_sectors} * 512, geometry));
  }
}

void run(Input input) {
  static DiskRequest request;  // used again and again, as the disk does
  Buffers buffers;
  const BlockGeometry geometry = make_geometry(input);
  request.chain = make_chain(buffers, input);
  const Chain& chain = request.chain;
  const Parsed parsed = parse(request);
  KEMARI_ASSERT((parsed == Parsed::kNoStatus) == chain.writable.empty());
  if (parsed == Parsed::kNoStatus) return;
  *request.status = VIRTIO_BLK_S_OK;
  const Segment& last = chain.writable.back();
  KEMARI_ASSERT(request.status == last.hva + last.length - 1);
  KEMARI_ASSERT((parsed == Parsed::kShortHeader) == (chain.readable_bytes() < sizeof(virtio_blk_outhdr)));
  if (parsed == Parsed::kShortHeader) return;

  KEMARI_ASSERT(request.data_in_bytes == chain.writable_bytes() - 1);
  KEMARI_ASSERT(request.data_out_bytes == chain.readable_bytes() - sizeof(virtio_blk_outhdr));
  static_cast<void>(describe(request));
  switch (request.type) {
    case VIRTIO_BLK_T_OUT:
      KEMARI_ASSERT(io_bytes(request.bytes) == request.data_out_bytes);
      return carry_out(request, geometry);
    case VIRTIO_BLK_T_IN:
      KEMARI_ASSERT(io_bytes(request.data) == request.data_in_bytes);
      return carry_out(request, geometry);
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
      return try_ranges(request, geometry);
    default:
      return;
  }
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
