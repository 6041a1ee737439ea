// Who speaks to a device for its guest's driver: says where the queues lie, starts and stops them, and calls the
// driver. A vhost-user socket (VhostUserSession), or what Xen's split drivers have in common.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "ring/inflight_area.h"
#include "ring/request_queue.h"

namespace kemari {

struct DeviceQueue;
class RingDevice;

// On the ring thread, under the device's lock, the constructor and make_queue() aside.
class FrontEnd {
 public:
  FrontEnd() = default;
  virtual ~FrontEnd() = default;
  FrontEnd(const FrontEnd&) = delete;
  FrontEnd& operator=(const FrontEnd&) = delete;

  virtual std::unique_ptr<RequestQueue> make_queue(uint32_t index) = 0;
  // The thread begins: the place to watch descriptors. What it throws, as what its handlers throw, ends the connection.
  virtual void open() = 0;
  // The device is at its end: nothing is watched any more. Idempotent; also without open().
  virtual void close() noexcept = 0;

  virtual uint64_t features() const noexcept = 0;  // virtio's, that were accepted last
  // A queue that was told to stop, and drained, has stopped.
  virtual void queue_stopped(const DeviceQueue& queue) = 0;
  // There are answers that the driver wants to hear of.
  virtual void call(const DeviceQueue& queue) noexcept = 0;
  // The guest broke this queue.
  virtual void queue_broken(const DeviceQueue& queue) noexcept = 0;
  // Where requests in flight are noted for the next back-end; an invalid one: nowhere.
  virtual InflightQueue inflight(uint32_t) { return {}; }

  // The machine stands still, and goes on: for whom the front-end does not say so itself (vhost-user's does).
  virtual void machine_stopped() {}
  virtual void machine_continues() {}
};

// Makes the front-end of a device, which outlives it.
using FrontEndMaker = std::function<std::unique_ptr<FrontEnd>(RingDevice&)>;

}  // namespace kemari
