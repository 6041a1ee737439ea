#include "ring/xen/split_driver.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "error.h"
#include "ring/device_queue.h"
#include "ring/ring_device.h"
#include "ring/xen/blkif_queue.h"
#include "ring/xen/netif_receive_queue.h"
#include "ring/xen/netif_transmit_queue.h"

namespace kemari::xen {

SplitDriver::SplitDriver(RingDevice& device, uint16_t domid, std::shared_ptr<RingOffer> offer)
    : device_(device), domid_(domid), offer_(std::move(offer)), grants_(domid) {}

std::unique_ptr<RequestQueue> SplitDriver::make_queue(uint32_t index) {
  KEMARI_ASSERT(index == rings_.size());
  size_t entry_bytes = 0;
  std::unique_ptr<AttachedQueue> queue = make_ring(index, entry_bytes);
  rings_.push_back({queue.get(), entry_bytes, nullptr, nullptr});
  return queue;
}

// A block driver has one ring, a network driver one for each direction: neither is offered more.
std::unique_ptr<AttachedQueue> SplitDriver::make_ring(uint32_t index, size_t& entry_bytes) {
  const bool is_nic = device_.kind() == RingDeviceKind::kNic;
  KEMARI_ASSERT(index < (is_nic ? 2u : 1u));
  if (!is_nic) {
    entry_bytes = kBlkifEntryBytes;
    return std::make_unique<BlkifQueue>(grants_);
  }
  if (index == 0) {
    entry_bytes = kNetifRxEntryBytes;
    return std::make_unique<NetifReceiveQueue>(grants_);
  }
  entry_bytes = kNetifTxEntryBytes;
  return std::make_unique<NetifTransmitQueue>(grants_);
}

void SplitDriver::open() {
  device_.features_acked(features());
  device_.loop_->add(offer_->fd(), [this] { device_.protect([this] { told(); }); });
  device_.announced_ = true;  // not with its first queue: told() does it
  is_open_ = true;
}

void SplitDriver::close() noexcept {
  if (std::exchange(is_open_, false)) {
    device_.loop_->remove(offer_->fd());
    for (const auto& channel : channels_) device_.loop_->remove(channel->events.fd());
    for (Ring& ring : rings_) ring.queue->detach();
  }
  for (Ring& ring : rings_) {
    ring.mapping.reset();
    ring.channel = nullptr;
  }
  channels_.clear();
  grants_.close();
}

// A block driver does not say what it will use: all that the disk can.
uint64_t SplitDriver::features() const noexcept {
  return device_.kind() == RingDeviceKind::kNic ? netif_features(offloads_) : device_.device_features();
}

void SplitDriver::call(const DeviceQueue& queue) noexcept {
  if (Channel* const channel = rings_[queue.index].channel) channel->events.notify();
}

void SplitDriver::told() {
  if (const std::optional<RingPlaces> places = offer_->take()) connect(*places);
  if (!is_connected() || is_stopped_) return;
  for (const auto& queue : device_.queues_) {
    if (queue->state != QueueState::kStarted) device_.kicked(*queue);
  }
  if (std::exchange(is_announced_, true)) return;
  device_.emit({DeviceEvent::Type::kStarted, "", device_.name() + ": the rings of its driver are served"});
}

void SplitDriver::connect(const RingPlaces& places) {
  if (is_connected()) fail("KEMARI_XEN_RING", "the driver's rings are mapped already");
  if (places.rings.size() != rings_.size()) {
    fail("KEMARI_XEN_RING",
         std::to_string(places.rings.size()) + " rings for a device with " + std::to_string(rings_.size()));
  }
  offloads_ = places.offloads;
  device_.features_acked(features());
  for (uint32_t index = 0; index < rings_.size(); index++) connect(index, places.rings[index]);
}

void SplitDriver::connect(uint32_t index, const RingPlace& place) {
  Ring& ring = rings_[index];
  ring.mapping = grants_.map(place.refs);
  ring.channel = &channel(place.port);
  const std::span<uint8_t> memory = ring.mapping->bytes();
  ring.queue->attach(memory);
  DeviceQueue& queue = *device_.queues_[index];
  queue.size = SharedRing::entries_in(memory.size(), ring.entry_bytes);
  queue.addresses = QueueAddresses{place.refs.front(), place.port, 0};
  // What is between answer and request in a ring that was served before comes again, unless a checkpoint has it.
  queue.base = queue.restored ? queue.restored->queue.last_available : ring.queue->used_index_in_memory();
  device_.set_enabled(queue, true);
}

SplitDriver::Channel& SplitDriver::channel(uint32_t port) {
  const auto found = std::ranges::find_if(channels_, [port](const auto& one) { return one->port == port; });
  if (found != channels_.end()) return **found;
  Channel& channel = *channels_.emplace_back(std::make_unique<Channel>(domid_, port));
  device_.loop_->add(channel.events.fd(), [this, &channel] {
    channel.events.take();
    device_.protect([this, &channel] { kick(channel); });
  });
  return channel;
}

void SplitDriver::kick(const Channel& channel) {
  if (is_stopped_) return;
  for (uint32_t index = 0; index < rings_.size(); index++) {
    if (rings_[index].channel == &channel) device_.kicked(*device_.queues_[index]);
  }
}

void SplitDriver::machine_stopped() {
  is_stopped_ = true;
  if (!is_connected()) return;
  for (const auto& queue : device_.queues_) device_.stop_queue(*queue);
}

void SplitDriver::machine_continues() {
  is_stopped_ = false;
  offer_->wake();
}

}  // namespace kemari::xen
