// The back-end's half of a split driver of Xen's, as a device's front-end: maps the rings that the guest's driver has
// granted, binds its event channels, and starts and stops the queues with the machine. What the entries of a ring mean
// is for the queues to know, by the kind of the device.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

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
  struct Channel {
    Channel(uint16_t domid, uint32_t remote_port) : port(remote_port), events(domid, remote_port) {}
    const uint32_t port;  // the guest's
    EventChannel events;
  };
  struct Ring {
    AttachedQueue* queue;  // the device's
    size_t entry_bytes;
    std::unique_ptr<GrantMapping> mapping;  // this and what follows: while connected
    Channel* channel;
  };

  std::unique_ptr<AttachedQueue> make_ring(uint32_t index, size_t& entry_bytes);
  bool is_connected() const noexcept { return !channels_.empty(); }
  void told();
  void connect(const RingPlaces& places);
  void connect(uint32_t index, const RingPlace& place);
  Channel& channel(uint32_t port);
  void kick(const Channel& channel);

  RingDevice& device_;
  const uint16_t domid_;
  const std::shared_ptr<RingOffer> offer_;
  GrantDevice grants_;
  NetifOffloads offloads_;
  std::vector<Ring> rings_;  // by queue
  std::vector<std::unique_ptr<Channel>> channels_;
  bool is_open_ = false;
  bool is_stopped_ = false;  // with the machine
  bool is_announced_ = false;
};

}  // namespace xen
}  // namespace kemari
