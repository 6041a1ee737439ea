// What a disk adds to a cut, and how its requests go on where the guest does.
#include <algorithm>

#include "ring/disk/disk_device.h"

namespace kemari {

std::vector<DeviceRequest> DiskDevice::requests_to_cut() {
  std::vector<DeviceRequest> requests;
  for (const auto& request : requests_) {
    if (!request->is_taken) continue;
    const bool outbound = request->type != VIRTIO_BLK_T_IN;
    // It left through an open gate: a guest that has changed it since gets what is there now written over it.
    if (outbound && !request->is_frozen) freeze_bytes(*request, outbound_pieces(*request));
    requests.push_back({.queue = request->queue,
                        .head = request->head,
                        .kind = outbound ? static_cast<RequestKind>(request->kind) : RequestKind::kDiskRead,
                        .place = request->is_held ? RequestPlace::kHeld : RequestPlace::kInFlight,
                        .sequence = outbound ? request->sequence : 0,
                        .sector = request->sector,
                        .bytes = {request->frozen.get(), request->frozen_bytes},
                        .shared = frozen_of(*request, memory())});
  }
  return requests;
}

uint32_t DiskDevice::unanswered_to_cut() const {
  return static_cast<uint32_t>(std::min<uint64_t>(counters_.unanswered_writes, UINT32_MAX));
}

UnflushedChanges DiskDevice::unflushed_to_cut() const {
  return attached_ ? backend_->unflushed() : restored_unflushed_;
}

void DiskDevice::unflushed_restored(UnflushedChanges unflushed) {
  if (attached_) {
    backend_->go_on_from(unflushed);
  } else {
    restored_unflushed_ = unflushed;
  }
}

void DiskDevice::submit_again(uint32_t index, const CutRequest& cut, const std::vector<Segment>& writable) {
  DiskRequest& request = take_free();
  request.queue = index;
  request.head = request.chain.head = cut.head;
  request.chain.readable.clear();
  request.chain.writable = writable;
  try {
    parse_again(request, cut);
  } catch (...) {
    free(request);
    throw;
  }
  counters_.in_flight.fetch_add(1, std::memory_order_relaxed);
  dispatch(request);
}

}  // namespace kemari
