// The life of a device's queues: started, stopped, suspended and taken away, with requests in flight at any time.
#include <string>
#include <utility>

#include "clock.h"
#include "error.h"
#include "ring/device_queue.h"
#include "ring/ring_device.h"

namespace kemari {

// --- configuration --------------------------------------------------------------------------------------------------

void RingDevice::set_enabled(DeviceQueue& queue, bool enabled) {
  if (queue.enabled == enabled) return;
  queue.enabled = enabled;
  queue_enabled(queue.index, enabled);
  update_running(queue);
}

void RingDevice::kicked(DeviceQueue& queue) {
  if (queue.state != QueueState::kStarted) {
    // A kick before the front-end said where the ring is starts nothing.
    if (queue.size != 0 && queue.addresses) try_start(queue);
  } else if (queue.running) {
    queue_kicked(queue.index);
  }
}

void RingDevice::memory_replaced() {
  for (const auto& queue : queues_) {
    if (queue->state == QueueState::kStarted) queue->ring->set_addresses(*queue->addresses);
  }
  memory_changed();
}

// --- start ----------------------------------------------------------------------------------------------------------

void RingDevice::try_start(DeviceQueue& queue) {
  switch (queue.state) {
    case QueueState::kStopped:
      return begin(queue);
    case QueueState::kSuspended:
      if (at_same_place(queue)) return resume(queue);
      discard(queue);
      queue.start_wanted = true;
      return;
    case QueueState::kRestored:
      return start_restored(queue);
    case QueueState::kDiscarding:
      queue.start_wanted = true;  // advance() begins when the last request of the old ring is gone
      return;
    case QueueState::kStarted:
    case QueueState::kDraining:
      return;
  }
}

// Whether a suspended queue was configured where it was: then the guest still waits for the requests that are pending.
// The used index tells a reset ring apart even where the avail index happens to agree.
bool RingDevice::at_same_place(DeviceQueue& queue) {
  if (queue.size != queue.suspended_size || queue.addresses != queue.suspended_addresses ||
      queue.base != queue.ring->last_available_index()) {
    return false;
  }
  queue.ring->set_addresses(*queue.addresses);
  return queue.ring->used_index_in_memory() == queue.ring->used_index();
}

void RingDevice::begin(DeviceQueue& queue) {
  prepare(queue);
  adopt_inflight(queue);
  queue.ring->start();
  now_started(queue);
  update_running(queue);
}

void RingDevice::prepare(DeviceQueue& queue) {
  queue.ring->set_size(queue.size);
  queue.ring->set_addresses(*queue.addresses);
  queue.ring->set_accepted(front_end_->features());
  queue.ring->set_base(queue.base);
  queue.pending.set_size(static_cast<uint16_t>(queue.size));
  queue.resubmit.clear();
}

void RingDevice::now_started(DeviceQueue& queue) {
  queue.fault_reported = queues_stop_ = false;
  queue.state = QueueState::kStarted;
  if (!std::exchange(announced_, true)) emit({DeviceEvent::Type::kStarted, "", name_ + ": the guest has started it"});
}

InflightQueue RingDevice::inflight_of(const DeviceQueue& queue) {
  InflightQueue inflight = front_end_->inflight(queue.index);
  if (inflight.valid() && inflight.queue_size() < queue.size) {
    fail("KEMARI_VHOST_USER_INFLIGHT", "queue " + std::to_string(queue.index) + " is larger than its inflight area");
  }
  return inflight;
}

// What a former back-end left in flight comes first; the ring goes on behind it, whatever base the front-end knows.
void RingDevice::adopt_inflight(DeviceQueue& queue) {
  queue.inflight = inflight_of(queue);
  if (!queue.inflight.valid()) return;
  const uint16_t used = queue.ring->used_index_in_memory();
  const InflightQueue::Recovered recovered = queue.inflight.recover(used);
  // The former back-end may have died between publishing and calling.
  if (recovered.interrupted) front_end_->call(queue);
  const std::vector<uint16_t>& heads = recovered.heads;
  if (heads.empty()) return;
  queue.resubmit.assign(heads.begin(), heads.end());
  queue.ring->set_base(static_cast<uint16_t>(used + heads.size()));
}

void RingDevice::resume(DeviceQueue& queue) {
  queue.ring->set_accepted(front_end_->features());
  InflightQueue area = inflight_of(queue);
  if (!area.same_place(queue.inflight)) {
    queue.inflight = std::move(area);
    if (queue.inflight.valid()) {
      queue.inflight.reset(queue.ring->used_index());
      for (uint16_t head = queue.pending.oldest(); head != PendingList::kNone; head = queue.pending.after(head)) {
        queue.inflight.popped(head);
      }
      for (const uint16_t head : queue.resubmit) queue.inflight.popped(head);
    }
  }
  queue.ring->start();
  queue.fault_reported = queues_stop_ = false;
  queue.state = QueueState::kStarted;
  for (const DeviceQueue::Kept& kept : std::exchange(queue.kept, {})) {
    queue.pending.remove(kept.head);
    queue.ring->push_used(kept.head, kept.written);
    if (queue.inflight.valid()) queue.inflight.pushed(kept.head);
    queue.unpublished = true;
  }
  publish(queue);
  update_running(queue);
}

void RingDevice::update_running(DeviceQueue& queue) {
  // A ring that is started and disabled is left alone. The specification would have a NIC discard what it finds there,
  // but front-ends enable rings last, so each stop and start would lose frames.
  const bool running = queue.state == QueueState::kStarted && queue.enabled;
  if (running == queue.running) return;
  queue.running = running;
  if (running) {
    queue_started(queue.index);
  } else {
    queue_stopping(queue.index);
  }
}

// --- stop -----------------------------------------------------------------------------------------------------------

bool RingDevice::stop_queue(DeviceQueue& queue) {
  queue.start_wanted = false;
  if (queue.state != QueueState::kStarted) return true;
  if (!std::exchange(queues_stop_, true)) stop_began_ns_.store(monotonic_ns(), std::memory_order_relaxed);
  queue.state = QueueState::kDraining;
  update_running(queue);
  publish(queue);
  return advance_stop(queue);
}

// Ends draining when that is possible.
bool RingDevice::advance_stop(DeviceQueue& queue) {
  const bool drained = queue.in_flight() == 0 && in_flight(queue.index) == 0;
  if (!drained && !suspend_on_stop_) return false;
  queue.base = queue.ring->stop();
  if (drained && queue.resubmit.empty()) {
    queue.state = QueueState::kStopped;
  } else {
    queue.state = QueueState::kSuspended;
    queue.suspended_size = queue.size;
    queue.suspended_addresses = *queue.addresses;
  }
  return true;
}

bool RingDevice::advance(DeviceQueue& queue) {
  if (queue.state == QueueState::kDraining && advance_stop(queue)) {
    front_end_->queue_stopped(queue);
    return true;
  }
  if (queue.state == QueueState::kDiscarding && queue.pending.count() == 0 && in_flight(queue.index) == 0) {
    queue.state = QueueState::kStopped;
    if (!gone_ && std::exchange(queue.start_wanted, false)) begin(queue);
    return true;
  }
  return false;
}

// The guest took the ring away, or the device goes: nothing of it is published any more.
void RingDevice::discard(DeviceQueue& queue) {
  if (queue.state == QueueState::kStopped || queue.state == QueueState::kDiscarding) return;
  if (queue.state == QueueState::kRestored) {
    queue.restored.reset();
    queue.state = QueueState::kStopped;
    return;
  }
  publish(queue);
  queue.state = QueueState::kDiscarding;
  update_running(queue);
  queue.ring->stop();
  for (const DeviceQueue::Kept& kept : std::exchange(queue.kept, {})) {
    queue.pending.remove(kept.head);
    forget(queue, kept.head);
  }
  for (const uint16_t head : queue.resubmit) forget(queue, head);
  queue.resubmit.clear();
  drop_held(queue);
}

// When the device goes, the next back-end submits again what was in flight; a guest that took its ring away wants
// nothing of it.
void RingDevice::forget(DeviceQueue& queue, uint16_t head) {
  if (!gone_ && queue.inflight.valid()) queue.inflight.forgotten(head);
}

void RingDevice::drop_held(DeviceQueue& queue) {
  std::vector<uint16_t> heads;
  for (const Outbound* request : lane_->held()) {
    if (request->queue == queue.index && !request->is_answered) heads.push_back(request->head);
  }
  abandon_held(queue.index);
  for (const uint16_t head : heads) {
    queue.pending.remove(head);
    forget(queue, head);
  }
  for (const Outbound* request : lane_->held()) KEMARI_ASSERT(request->queue != queue.index);
}

// --- requests -------------------------------------------------------------------------------------------------------

PopResult RingDevice::pop(uint32_t index, Chain& chain) {
  DeviceQueue& queue = *queues_[index];
  if (!queue.running) return PopResult::kEmpty;
  const bool resubmitted = !queue.resubmit.empty();
  PopResult result = resubmitted ? queue.ring->take(queue.resubmit.front(), chain) : queue.ring->pop(chain);
  if (result == PopResult::kChain && queue.pending.contains(chain.head)) {
    result = queue.ring->break_queue("descriptor head " + std::to_string(chain.head) +
                                     " was made available again while it is in flight");
  }
  if (result == PopResult::kBroken) report_fault(queue);
  if (result != PopResult::kChain) return result;
  if (resubmitted) {
    queue.resubmit.pop_front();
  } else if (queue.inflight.valid()) {
    queue.inflight.popped(chain.head);
  }
  queue.pending.add(chain.head, chain.writable, resubmitted);
  return result;
}

void RingDevice::unpop(uint32_t index, uint16_t count) {
  DeviceQueue& queue = *queues_[index];
  for (uint16_t i = 0; i < count; i++) {
    const uint16_t head = queue.pending.newest();
    KEMARI_ASSERT(head != PendingList::kNone && !queue.pending[head].kept);
    if (queue.pending[head].resubmitted) {
      queue.resubmit.push_front(head);
    } else {
      queue.ring->unpop(1);
      if (queue.inflight.valid()) queue.inflight.forgotten(head);
    }
    queue.pending.remove(head);
  }
}

void RingDevice::break_queue(uint32_t index, const std::string& why) {
  queues_[index]->ring->break_queue(why);
  report_fault(*queues_[index]);
}

void RingDevice::report_fault(DeviceQueue& queue) {
  if (std::exchange(queue.fault_reported, true)) return;
  front_end_->queue_broken(queue);
  emit({DeviceEvent::Type::kQueueBroken, "KEMARI_RING_BROKEN",
        name_ + ": queue " + std::to_string(queue.index) + ": " + queue.ring->fault()});
}

void RingDevice::complete(uint32_t index, uint16_t head, uint32_t written) {
  finish(index, head, written, UINT64_MAX);
}

void RingDevice::complete_exact(uint32_t index, uint16_t head, uint32_t written) {
  finish(index, head, written, written);
}

void RingDevice::finish(uint32_t index, uint16_t head, uint32_t written, uint64_t touched) {
  DeviceQueue& queue = *queues_[index];
  KEMARI_ASSERT(queue.pending.contains(head) && !queue.pending[head].kept);
  completed_++;
  // Also where nothing is published: the bytes are in guest memory.
  if (queue.state == QueueState::kDiscarding) {
    queue.ring->landed_in_vain(head, queue.pending[head].writable, touched);
  } else {
    queue.ring->landed(head, queue.pending[head].writable, touched);
  }
  switch (queue.state) {
    case QueueState::kStarted:
    case QueueState::kDraining:
      queue.pending.remove(head);
      queue.ring->push_used(head, written);
      if (queue.inflight.valid()) queue.inflight.pushed(head);
      queue.unpublished = true;
      return;
    case QueueState::kSuspended:
      queue.pending[head].kept = true;
      queue.kept.push_back({head, written});
      return;
    case QueueState::kDiscarding:
      queue.pending.remove(head);
      forget(queue, head);
      return;
    case QueueState::kRestored:
    case QueueState::kStopped:
      assertion_failed("a stopped queue has nothing pending", __FILE__, __LINE__);
  }
}

void RingDevice::notify(uint32_t index) {
  publish(*queues_[index]);
}

void RingDevice::publish(DeviceQueue& queue) {
  if (!std::exchange(queue.unpublished, false)) return;
  if (queue.ring->publish()) front_end_->call(queue);
  if (queue.inflight.valid()) queue.inflight.published(queue.ring->used_index());
}

}  // namespace kemari
