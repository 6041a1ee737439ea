// A device's part of a checkpoint: taken where the guest runs, put in place where it goes on.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "error.h"
#include "fault/fault.h"
#include "ring/device_queue.h"
#include "ring/ring_device.h"

namespace kemari {

namespace {

// The device's requests of one queue, by head.
using RequestTable = std::vector<DeviceRequest*>;

CutQueue cut_queue(const DeviceQueue& queue, const RequestTable& requests) {
  CutQueue cut;
  cut.index = queue.index;
  cut.size = queue.ring->size();
  cut.last_available = queue.ring->last_available_index();
  cut.used = queue.ring->used_index();
  for (const DeviceQueue::Kept& kept : queue.kept) {
    CutQueue::Kept& described = cut.kept.emplace_back();
    described.head = kept.head;
    described.written = kept.written;
    queue.ring->describe_kept(described);
  }
  cut.unread.assign(queue.resubmit.begin(), queue.resubmit.end());
  for (uint16_t head = queue.pending.oldest(); head != PendingList::kNone; head = queue.pending.after(head)) {
    const PendingList::Entry& entry = queue.pending[head];
    if (entry.kept) continue;
    DeviceRequest* request = requests[head];
    KEMARI_ASSERT(request != nullptr);
    CutRequest& pending = cut.pending.emplace_back();
    pending.head = head;
    pending.kind = request->kind;
    pending.place = request->place;
    pending.sequence = request->sequence;
    pending.sector = request->sector;
    pending.bytes = request->bytes;
    pending.shared = std::move(request->shared);
    queue.ring->describe(head, entry.writable, pending);
  }
  return cut;
}

}  // namespace

TracedBytes RingDevice::cut() {
  const std::unique_lock lock = park();
  if (!lane_) fail("KEMARI_RING_STATE", name_ + " has ended: there is nothing to cut");
  for (const auto& queue : queues_) {
    if (queue->state != QueueState::kStarted && queue->state != QueueState::kDraining) continue;
    fail("KEMARI_RING_STATE", name_ + ": queue " + std::to_string(queue->index) +
                                  " still runs, so what a cut says of it would not be true any more; stop the machine "
                                  "first, with suspending on");
  }
  lane_->freeze();
  std::vector<DeviceRequest> requests = requests_to_cut();
  std::vector<RequestTable> tables(queues_.size());
  for (const auto& queue : queues_) tables[queue->index].resize(queue->ring->size());
  for (DeviceRequest& request : requests) tables[request.queue][request.head] = &request;
  RingState state{.kind = kind(),
                  .features = front_end_->features(),
                  .queue_count = static_cast<uint32_t>(queues_.size()),
                  .unanswered_writes = unanswered_to_cut(),
                  .unflushed = unflushed_to_cut(),
                  .queues = {},
                  .addresses = addresses_to_cut(),
                  .answered = {}};
  for (const auto& queue : queues_) {
    if (queue->state == QueueState::kSuspended) {
      state.queues.push_back(cut_queue(*queue, tables[queue->index]));
    } else if (queue->state == QueueState::kRestored) {
      state.queues.push_back(queue->restored->queue);
    }
  }
  state.answered = answered_to_cut();
  return encode_ring_state(state);
}

void RingDevice::take_answered(std::span<const CutAnswered> answered, uint64_t) {
  if (answered.empty()) return;
  fail("KEMARI_RING_STATE", name_ + ": a checkpoint has frames for it, and it sends none");
}

void RingDevice::restore(std::span<const uint8_t> bytes) {
  const std::shared_ptr<const std::vector<uint8_t>> kept =
      std::make_shared<std::vector<uint8_t>>(bytes.begin(), bytes.end());
  RingState state = decode_ring_state(*kept);
  const std::unique_lock lock = park();
  if (!lane_) fail("KEMARI_RING_STATE", name_ + " has ended: nothing can be restored");
  if (state.kind != kind() || state.queue_count != queue_count()) {
    fail("KEMARI_RING_STATE", name_ + ": the checkpoint is that of another device: kind " +
                                  std::to_string(static_cast<int>(state.kind)) + " with " +
                                  std::to_string(state.queue_count) + " queues, expected kind " +
                                  std::to_string(static_cast<int>(kind())) + " with " + std::to_string(queue_count()));
  }
  const bool in_use = std::any_of(queues_.begin(), queues_.end(),
                                  [](const auto& queue) { return queue->state != QueueState::kStopped; });
  if (in_use || restored_) fail("KEMARI_RING_STATE", name_ + " runs already: a checkpoint comes too late");
  take_answered(state.answered, state.features);
  restored_ = true;
  restored_features_ = state.features;
  addresses_restored(std::move(state.addresses));
  unflushed_restored(state.unflushed);
  for (CutQueue& cut : state.queues) {
    DeviceQueue& queue = *queues_[cut.index];
    queue.restored = std::make_unique<DeviceQueue::Restored>(std::move(cut), kept);
    queue.state = QueueState::kRestored;
  }
}

// The front-end says where the ring is: it goes on if that is where it was cut.
void RingDevice::start_restored(DeviceQueue& queue) {
  const std::unique_ptr<DeviceQueue::Restored> restored = std::move(queue.restored);
  const CutQueue& cut = restored->queue;
  queue.state = QueueState::kStopped;
  if (front_end_->features() != restored_features_) {
    fail("KEMARI_RING_STATE", name_ + ": the machine starts it with other features than those of the checkpoint");
  }
  queue.ring->set_size(queue.size);
  queue.ring->set_addresses(*queue.addresses);
  const uint16_t used = queue.ring->used_index_in_memory();
  if (queue.size != cut.size || queue.base != cut.last_available || used != cut.used) {
    // The guest had reset the device by the cut; else machine and rings are not of one checkpoint, and it will wait for
    // its requests in vain.
    emit({DeviceEvent::Type::kQueueBroken, "KEMARI_RING_STATE",
          name_ + ": queue " + std::to_string(queue.index) + " starts at " + std::to_string(queue.base) + " with " +
              std::to_string(used) + " used, but was cut at " + std::to_string(cut.last_available) + " with " +
              std::to_string(cut.used) + " used: what was pending is forgotten, as after a reset by the guest"});
    return begin(queue);
  }
  // All that can be wrong is found before anything happens. A queue that keeps requests itself has its places now.
  prepare(queue);
  std::vector<std::vector<Segment>> writable;
  writable.reserve(cut.pending.size());
  for (const CutRequest& request : cut.pending) writable.push_back(queue.ring->adopt(request));
  for (const CutQueue::Kept& kept : cut.kept) queue.ring->adopt_kept(kept);
  queue.inflight = inflight_of(queue);
  if (queue.inflight.valid()) queue.inflight.reset(used);
  queue.ring->start();
  for (size_t i = 0; i < cut.pending.size(); i++) {
    queue.pending.add(cut.pending[i].head, writable[i], true);
    if (queue.inflight.valid()) queue.inflight.popped(cut.pending[i].head);
  }
  for (const uint16_t head : cut.unread) {
    queue.resubmit.push_back(head);
    if (queue.inflight.valid()) queue.inflight.popped(head);
  }
  now_started(queue);
  for (const CutQueue::Kept& kept : cut.kept) {
    queue.ring->push_used(kept.head, kept.written);
    queue.unpublished = true;
  }
  publish(queue);
  size_t submitted = 0;
  fault_point("replay.before");
  try {
    for (; submitted < cut.pending.size(); submitted++) {
      if (submitted == cut.pending.size() / 2) fault_point("replay.half");
      submit_again(queue.index, cut.pending[submitted], writable[submitted]);
    }
  } catch (...) {
    // What the device did not take will never be completed.
    for (; submitted < cut.pending.size(); submitted++) queue.pending.remove(cut.pending[submitted].head);
    throw;
  }
  fault_point("replay.after");
  update_running(queue);
}

}  // namespace kemari
