// One queue of a device and where it is in its life. Data and small steps; RingDevice decides.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "ring/inflight_area.h"
#include "ring/pending_list.h"
#include "ring/request_queue.h"
#include "ring/ring_state.h"

namespace kemari {

// stopped -> started               kicked (vhost-user: Ring states)
// started -> stopped               GET_VRING_BASE, nothing in flight
// started -> draining -> stopped   GET_VRING_BASE, answered when nothing is in flight any more
// started -> suspended             GET_VRING_BASE, answered at once; requests stay pending
// suspended -> started             kicked, configured at the same place: kept completions are published
// suspended -> discarding          kicked, configured elsewhere: the guest has forgotten the old ring
// discarding -> stopped            the old ring's last request completed; goes on to started if kicked meanwhile
// stopped -> restored              a checkpoint was put in place: it was suspended on another host
// restored -> started              kicked, configured where it was cut: pending requests are submitted again
// any -> discarding                the device goes
enum class QueueState : uint8_t {
  kStopped = 1,
  kStarted = 2,
  kDraining = 3,
  kSuspended = 4,
  kDiscarding = 5,
  kRestored = 6,
};

struct DeviceQueue {
  struct Kept {
    uint16_t head;
    uint32_t written;
  };

  struct Restored {
    CutQueue queue;  // its bytes lie in `bytes`
    std::shared_ptr<const std::vector<uint8_t>> bytes;
  };

  DeviceQueue(std::unique_ptr<RequestQueue> requests, uint32_t queue_index)
      : index(queue_index), ring(std::move(requests)) {}

  // The guest has a chain for a device that waits for one.
  bool is_offered() const noexcept { return running && ring->offered(); }

  // What a device still has in its hands.
  uint32_t in_flight() const noexcept { return pending.count() - static_cast<uint32_t>(kept.size()); }

  const uint32_t index;
  QueueState state = QueueState::kStopped;
  bool enabled = false;
  bool running = false;       // started and enabled: the device was told to serve it
  bool start_wanted = false;  // discarding: kicked meanwhile
  bool fault_reported = false;
  bool unpublished = false;  // used entries were written since the last publish

  // As the front-end configured it. `base` is what GET_VRING_BASE answers while the queue is not started.
  uint32_t size = 0;
  std::optional<QueueAddresses> addresses;
  uint16_t base = 0;

  const std::unique_ptr<RequestQueue> ring;
  PendingList pending;
  std::deque<uint16_t> resubmit;  // of a former life, to be popped first, oldest first
  std::vector<Kept> kept;         // suspended: completions in their order; the requests are still pending
  // Suspended: where the ring was; it goes on only at the same place.
  uint32_t suspended_size = 0;
  QueueAddresses suspended_addresses{};
  InflightQueue inflight;
  std::unique_ptr<Restored> restored;  // restored only
};

}  // namespace kemari
