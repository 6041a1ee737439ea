// The back-end's half of a split driver of Xen's, as a device's front-end: maps the ring that the guest's driver has
// granted, binds its event channel, and starts and stops the queue with the machine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "ring/front_end.h"
#include "ring/xen/event_channel.h"
#include "ring/xen/grant_device.h"
#include "ring/xen/ring_offer.h"

namespace kemari {

struct DeviceQueue;
class RingDevice;

namespace xen {

class AttachedQueue;

class SplitDriver final : public FrontEnd {
 public:
  // Throws KEMARI_XEN_MISSING. `offer` outlives the device's thread.
  SplitDriver(RingDevice& device, uint16_t domid, std::shared_ptr<RingOffer> offer);

  std::unique_ptr<RequestQueue> make_queue(uint32_t index) override;
  void open() override;
  void close() noexcept override;
  uint64_t features() const noexcept override;
  void queue_stopped(const DeviceQueue&) override {}
  void call(const DeviceQueue& queue) noexcept override;
  void queue_broken(const DeviceQueue&) noexcept override {}
  // The caller has the lock, on any thread: nothing is submitted here.
  void machine_stopped() override;
  void machine_continues() override;

 private:
  void told();
  void connect(const RingPlace& place);
  DeviceQueue& queue() noexcept;

  RingDevice& device_;
  const uint16_t domid_;
  const std::shared_ptr<RingOffer> offer_;
  GrantDevice grants_;
  AttachedQueue* ring_ = nullptr;          // the device's queue
  std::unique_ptr<GrantMapping> mapping_;  // this and what follows: while connected
  std::optional<EventChannel> channel_;
  bool is_open_ = false;
  bool is_stopped_ = false;  // with the machine
};

}  // namespace xen
}  // namespace kemari
