#include "ring/disk/disk_device.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "error.h"
#include "evidence/evidence.h"
#include "ring/disk/io_vector.h"

namespace kemari {
namespace {

void add(std::atomic<uint64_t>& counter, uint64_t value) {
  counter.fetch_add(value, std::memory_order_relaxed);
}

}  // namespace

DiskDevice::DiskDevice(RingDevice::Options options, DiskDeviceOptions disk, std::unique_ptr<BlockBackend> backend)
    : DiskDevice(std::move(options), std::move(disk), backend->geometry(), backend->engine()) {
  backend_ = std::move(backend);
}

DiskDevice::DiskDevice(RingDevice::Options options, DiskDeviceOptions disk, const BlockGeometry& geometry,
                       const char* engine)
    : RingDevice(std::move(options)),
      disk_(std::move(disk)),
      geometry_(geometry),
      engine_(engine),
      queues_(disk_.queues) {
  KEMARI_ASSERT(disk_.queues >= 1 && disk_.queues <= kMaxDiskQueues && disk_.serial.size() <= VIRTIO_BLK_ID_BYTES);
  fill_config();
}

DiskDevice::~DiskDevice() {
  stop();
}

// --- what the device says of itself --------------------------------------------------------------------------------

uint64_t DiskDevice::device_features() const {
  uint64_t features = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_TOPOLOGY;
  if (geometry_.can_flush) features |= VIRTIO_BLK_F_FLUSH;
  if (geometry_.read_only) features |= VIRTIO_BLK_F_RO;
  if (geometry_.can_discard) features |= VIRTIO_BLK_F_DISCARD;
  if (geometry_.can_write_zeroes) features |= VIRTIO_BLK_F_WRITE_ZEROES;
  if (disk_.queues > 1) features |= VIRTIO_BLK_F_MQ;
  return features;
}

void DiskDevice::fill_config() {
  const uint32_t logical = geometry_.logical_block_bytes;
  const uint32_t physical = std::max(geometry_.physical_block_bytes, logical);
  config_.capacity = geometry_.size_bytes / kSectorBytes;
  config_.seg_max = kSegMax;
  config_.blk_size = logical;
  config_.physical_block_exp = static_cast<uint8_t>(std::bit_width(physical / logical) - 1);
  config_.min_io_size = static_cast<uint16_t>(std::min<uint32_t>(physical / logical, UINT16_MAX));
  config_.opt_io_size = geometry_.optimal_io_bytes / logical;
  config_.writeback = 1;
  config_.num_queues = static_cast<uint16_t>(disk_.queues);
  if (geometry_.can_discard) {
    config_.max_discard_sectors = static_cast<uint32_t>(kMaxDiscardBytes / kSectorBytes);
    config_.max_discard_seg = kMaxDiscardRanges;
    config_.discard_sector_alignment = std::max(geometry_.discard_granularity_bytes, logical) / kSectorBytes;
  }
  if (geometry_.can_write_zeroes) {
    config_.max_write_zeroes_sectors = static_cast<uint32_t>(kMaxWriteZeroesBytes / kSectorBytes);
    config_.max_write_zeroes_seg = kMaxDiscardRanges;
    config_.write_zeroes_may_unmap = geometry_.can_discard ? 1 : 0;
  }
}

std::span<const uint8_t> DiskDevice::config() const {
  // SAFETY: packed, trivially copyable; bytes of it are what the driver reads.
  return {reinterpret_cast<const uint8_t*>(&config_), sizeof config_};
}

// A driver that will not flush must find its writes durable when they complete (section 5.2.6.2).
void DiskDevice::features_acked(uint64_t features) {
  write_through_ = geometry_.can_flush && (features & VIRTIO_BLK_F_FLUSH) == 0;
}

// --- the thread ----------------------------------------------------------------------------------------------------

void DiskDevice::open(std::unique_ptr<BlockBackend> backend) {
  const BlockGeometry& found = backend->geometry();
  const auto differ = [&](const char* what, uint64_t is, uint64_t expected) {
    fail("KEMARI_DISK_GEOMETRY", name() + ": the storage has " + what + " " + std::to_string(is) +
                                     ", the guest's disk " + std::to_string(expected) +
                                     "; both hosts must see the same storage");
  };
  if (found.size_bytes != geometry_.size_bytes) differ("size", found.size_bytes, geometry_.size_bytes);
  if (found.logical_block_bytes > geometry_.logical_block_bytes) {
    differ("block size", found.logical_block_bytes, geometry_.logical_block_bytes);
  }
  if (found.read_only && !geometry_.read_only) differ("read-only", 1, 0);
  if (found.can_flush != geometry_.can_flush) differ("flushes", found.can_flush, geometry_.can_flush);
  if (geometry_.can_discard && !found.can_discard) differ("discards", 0, 1);
  if (geometry_.can_write_zeroes && !found.can_write_zeroes) differ("zeroing", 0, 1);
  const std::unique_lock lock = park();
  KEMARI_ASSERT(backend_ == nullptr);
  backend_ = std::move(backend);
}

void DiskDevice::thread_started() {
  attach();
}

// Once there is a back-end; at the latest when a request needs it.
void DiskDevice::attach() {
  if (backend_ == nullptr || std::exchange(attach_tried_, true)) return;
  try {
    backend_->attach(loop(), *this);
    backend_->go_on_from(restored_unflushed_);
    attached_ = true;
    engine_ = backend_->engine();
  } catch (const Error& error) {
    emit({DeviceEvent::Type::kIoError, error.code(), name() + ": " + error.what() + "; every request will fail"});
  }
}

void DiskDevice::thread_ending() {
  if (std::exchange(attached_, false)) backend_->detach();
  backend_.reset();
}

void DiskDevice::abandon() {
  if (attached_) backend_->abandon();
}

// --- queues --------------------------------------------------------------------------------------------------------

void DiskDevice::queue_started(uint32_t index) {
  serve(index);
}

void DiskDevice::queue_kicked(uint32_t index) {
  serve(index);
}

// Takes what is there, at most one queue's worth a turn: a guest that always has more must not keep the lock.
void DiskDevice::serve(uint32_t index) {
  RequestQueue& ring = queue(index);
  uint32_t left = ring.size();
  while (running(index)) {
    ring.set_kicks_wanted(false);
    for (; left > 0; --left) {
      if (lane().is_full()) {
        queues_[index].starved = true;
        return;
      }
      DiskRequest& request = take_free();
      const PopResult popped = pop(index, request.chain);
      if (popped != PopResult::kChain) {
        free(request);
        if (popped == PopResult::kBroken) return;
        break;
      }
      request.queue = index;
      request.head = request.chain.head;
      add(counters_.in_flight, 1);
      begin(request);
    }
    if (left == 0) return post_serve(index);
    ring.set_kicks_wanted(true);
    if (ring.empty()) return;
  }
}

void DiskDevice::post_serve(uint32_t index) {
  if (std::exchange(queues_[index].posted, true)) return;
  loop().post([this, index] {
    queues_[index].posted = false;
    serve(index);
  });
}

void DiskDevice::begin(DiskRequest& request) {
  switch (parse(request)) {
    case Parsed::kNoStatus: {
      const uint32_t index = request.queue;
      counters_.in_flight.fetch_sub(1, std::memory_order_relaxed);
      free(request);
      unpop(index, 1);  // it will never be answered
      break_queue(index, "a disk request has no place for its status");
      return;
    }
    case Parsed::kShortHeader:
      return respond(request, VIRTIO_BLK_S_IOERR, 0);
    case Parsed::kOk:
      break;
  }
  dispatch(request);
}

void DiskDevice::dispatch(DiskRequest& request) {
  switch (request.type) {
    case VIRTIO_BLK_T_IN:
      if (!inside(request.sector, request.data_in_bytes, geometry_)) return respond(request, VIRTIO_BLK_S_IOERR, 0);
      return start(request);
    case VIRTIO_BLK_T_OUT:
      return begin_outbound(request, OutboundKind::kDiskWrite);
    case VIRTIO_BLK_T_FLUSH:
      return begin_outbound(request, OutboundKind::kDiskFlush);
    case VIRTIO_BLK_T_DISCARD:
      return begin_outbound(request, OutboundKind::kDiskDiscard);
    case VIRTIO_BLK_T_WRITE_ZEROES:
      return begin_outbound(request, OutboundKind::kDiskWriteZeroes);
    case VIRTIO_BLK_T_GET_ID:
      return answer_id(request);
    default:
      return respond(request, VIRTIO_BLK_S_UNSUPP, 0);
  }
}

void DiskDevice::begin_outbound(DiskRequest& request, OutboundKind kind) {
  const uint8_t refusal = check_outbound(request, kind);
  if (refusal != VIRTIO_BLK_S_OK) return respond(request, refusal, 0);
  request.kind = kind;
  const bool passes = lane().admit(request);
  if (evidence_kept()) note(request, passes);
  if (passes) return start(request);
  GateLane::freeze(request);
}

void DiskDevice::note(const DiskRequest& request, bool passes) const {
  switch (request.kind) {
    case OutboundKind::kDiskWrite:
      return note_disk(passes, request.sequence, DiskChange::kWrite, request.sector * kSectorBytes,
                       request.data_out_bytes);
    case OutboundKind::kDiskFlush:
      return note_disk(passes, request.sequence, DiskChange::kFlush, 0, 0);
    default:
      break;
  }
  const bool discards = request.kind == OutboundKind::kDiskDiscard;
  for (uint32_t i = 0; i < request.range_count; i++) {
    const virtio_blk_discard_write_zeroes& range = request.ranges[i];
    note_disk(passes, request.sequence, discards ? DiskChange::kDiscard : DiskChange::kZero,
              range.sector * kSectorBytes, uint64_t{range.num_sectors} * kSectorBytes);
  }
}

// VIRTIO_BLK_S_OK, or why the request goes nowhere.
uint8_t DiskDevice::check_outbound(DiskRequest& request, OutboundKind kind) {
  switch (kind) {
    case OutboundKind::kDiskFlush:
      return geometry_.can_flush ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_UNSUPP;
    case OutboundKind::kDiskWrite:
      if (geometry_.read_only) return VIRTIO_BLK_S_IOERR;
      return inside(request.sector, request.data_out_bytes, geometry_) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
    default:
      break;
  }
  if (geometry_.read_only) return VIRTIO_BLK_S_IOERR;
  const bool can = kind == OutboundKind::kDiskDiscard ? geometry_.can_discard : geometry_.can_write_zeroes;
  if (!can) return VIRTIO_BLK_S_UNSUPP;
  uint8_t refusal = request.range_count == 0 ? parse_ranges(request) : VIRTIO_BLK_S_OK;
  if (refusal == VIRTIO_BLK_S_OK) refusal = check_ranges(request, geometry_);
  if (refusal != VIRTIO_BLK_S_OK) return refusal;
  request.bytes = outbound_pieces(request);  // the ranges as they were checked
  return VIRTIO_BLK_S_OK;
}

void DiskDevice::answer_id(DiskRequest& request) {
  std::array<uint8_t, VIRTIO_BLK_ID_BYTES> id{};
  std::copy(disk_.serial.begin(), disk_.serial.end(), id.begin());
  const uint32_t bytes = std::min<uint32_t>(request.data_in_bytes, id.size());
  io_scatter(request.data, id.data(), bytes);
  respond(request, VIRTIO_BLK_S_OK, bytes);
}

void DiskDevice::lane_released() {
  if (attached_) backend_->resume();
  while (Outbound* outbound = lane().next_released()) start(static_cast<DiskRequest&>(*outbound));
}

void DiskDevice::abandon_held(uint32_t index) {
  const auto held = lane().held();
  for (Outbound* outbound : std::vector<Outbound*>(held.begin(), held.end())) {
    if (outbound->queue != index) continue;
    lane().drop(*outbound);
    counters_.in_flight.fetch_sub(1, std::memory_order_relaxed);
    free(static_cast<DiskRequest&>(*outbound));
  }
}

// --- requests on their way -----------------------------------------------------------------------------------------

void DiskDevice::start(DiskRequest& request) {
  ++queues_[request.queue].in_flight;
  request.write_through = write_through_;
  attach();
  switch (request.type) {
    case VIRTIO_BLK_T_IN:
      request.operation = BlockOperation::kRead;
      request.offset = request.sector * kSectorBytes;
      request.length = request.data_in_bytes;
      break;
    case VIRTIO_BLK_T_OUT:
      request.operation = BlockOperation::kWrite;
      request.offset = request.sector * kSectorBytes;
      request.length = request.data_out_bytes;
      request.data.swap(request.bytes);  // the cut's bytes where it was frozen, the guest's else
      break;
    case VIRTIO_BLK_T_FLUSH:
      request.operation = BlockOperation::kFlush;
      request.offset = request.length = 0;
      break;
    default:
      return start_range(request);
  }
  if (!attached_) return finished(request, EIO);
  if (request.length == 0 && request.operation != BlockOperation::kFlush) return finished(request, 0);
  if (request.operation == BlockOperation::kFlush && geometry_.read_only) return finished(request, 0);
  backend_->submit(request);
}

// The ranges of one request go one after the other.
void DiskDevice::start_range(DiskRequest& request) {
  const virtio_blk_discard_write_zeroes& range = request.ranges[request.next_range++];
  const bool zeroes = request.type == VIRTIO_BLK_T_WRITE_ZEROES;
  request.operation = zeroes ? BlockOperation::kWriteZeroes : BlockOperation::kDiscard;
  request.unmap = (range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0 && geometry_.can_discard;
  request.offset = range.sector * kSectorBytes;
  request.length = uint64_t{range.num_sectors} * kSectorBytes;
  if (!attached_) return finished(request, EIO);
  if (request.length == 0) return finished(request, 0);
  backend_->submit(request);
}

void DiskDevice::finished(BlockRequest& block, int error) {
  auto& request = static_cast<DiskRequest&>(block);
  if (error == 0 && request.next_range < request.range_count) return start_range(request);
  --queues_[request.queue].in_flight;
  if (error != 0) {
    report(request, error);
    return respond(request, VIRTIO_BLK_S_IOERR, 0);
  }
  count(request);
  respond(request, VIRTIO_BLK_S_OK, request.type == VIRTIO_BLK_T_IN ? request.data_in_bytes : 0);
}

// Answers the guest. `written`: bytes of data it got.
void DiskDevice::respond(DiskRequest& request, uint8_t status, uint32_t written) {
  *request.status = status;
  if (status != VIRTIO_BLK_S_OK) add(counters_.errors, 1);
  counters_.in_flight.fetch_sub(1, std::memory_order_relaxed);
  // The used length counts from the front: the status byte belongs to it where nothing before it is left out.
  const bool whole = written == request.data_in_bytes;
  complete(request.queue, request.head, whole ? written + 1 : written);
  free(request);
}

void DiskDevice::count(const DiskRequest& request) {
  switch (request.type) {
    case VIRTIO_BLK_T_IN:
      add(counters_.reads, 1);
      add(counters_.read_bytes, request.length);
      break;
    case VIRTIO_BLK_T_OUT:
      add(counters_.writes, 1);
      add(counters_.written_bytes, request.length);
      break;
    case VIRTIO_BLK_T_FLUSH:
      add(counters_.flushes, 1);
      break;
    default:
      add(counters_.discards, 1);
  }
}

// --- request objects -----------------------------------------------------------------------------------------------

DiskRequest& DiskDevice::take_free() {
  if (free_ == nullptr) {
    requests_.push_back(std::make_unique<DiskRequest>());
    requests_.back()->is_taken = true;
    return *requests_.back();
  }
  DiskRequest& request = *free_;
  free_ = std::exchange(request.next_free, nullptr);
  request.is_taken = true;
  return request;
}

void DiskDevice::free(DiskRequest& request) noexcept {
  lane().done(request);
  request.is_taken = false;
  request.next_free = std::exchange(free_, &request);
  if (lane().is_full()) return;
  for (uint32_t index = 0; index < queues_.size(); ++index) {
    if (std::exchange(queues_[index].starved, false)) post_serve(index);
  }
}

}  // namespace kemari
