#include "ring/xen/split_driver.h"

#include <utility>

#include "error.h"
#include "ring/device_queue.h"
#include "ring/ring_device.h"
#include "ring/xen/blkif_queue.h"

namespace kemari::xen {

SplitDriver::SplitDriver(RingDevice& device, uint16_t domid, std::shared_ptr<RingOffer> offer)
    : device_(device), domid_(domid), offer_(std::move(offer)), grants_(domid) {}

std::unique_ptr<RequestQueue> SplitDriver::make_queue(uint32_t) {
  KEMARI_ASSERT(ring_ == nullptr);  // a block driver has one ring, unless it is offered more
  auto queue = std::make_unique<BlkifQueue>(grants_);
  ring_ = queue.get();
  return queue;
}

DeviceQueue& SplitDriver::queue() noexcept {
  return *device_.queues_.front();
}

void SplitDriver::open() {
  device_.features_acked(features());
  device_.loop_->add(offer_->fd(), [this] { device_.protect([this] { told(); }); });
  is_open_ = true;
}

void SplitDriver::close() noexcept {
  if (std::exchange(is_open_, false)) {
    device_.loop_->remove(offer_->fd());
    if (channel_) device_.loop_->remove(channel_->fd());
    ring_->detach();
  }
  channel_.reset();
  mapping_.reset();
  grants_.close();
}

// All that the disk can: a driver of Xen's does not say what it will use.
uint64_t SplitDriver::features() const noexcept {
  return device_.device_features();
}

void SplitDriver::call(const DeviceQueue&) noexcept {
  if (channel_) channel_->notify();
}

void SplitDriver::told() {
  if (const std::optional<RingPlace> place = offer_->take()) connect(*place);
  if (mapping_ && !is_stopped_ && queue().state != QueueState::kStarted) device_.kicked(queue());
}

void SplitDriver::connect(const RingPlace& place) {
  if (mapping_) fail("KEMARI_XEN_RING", "the driver's ring is mapped already");
  mapping_ = grants_.map(place.refs);
  channel_.emplace(domid_, place.port);
  ring_->attach(mapping_->bytes());
  DeviceQueue& queue = this->queue();
  queue.size = SharedRing::entries_in(mapping_->bytes().size(), kBlkifEntryBytes);
  queue.addresses = QueueAddresses{place.refs.front(), place.port, 0};
  // What is between answer and request in a ring that was served before comes again, unless a checkpoint has it.
  queue.base = queue.restored ? queue.restored->queue.last_available : ring_->used_index_in_memory();
  device_.loop_->add(channel_->fd(), [this] {
    channel_->take();
    device_.protect([this] {
      if (!is_stopped_) device_.kicked(this->queue());
    });
  });
  device_.set_enabled(queue, true);
}

void SplitDriver::machine_stopped() {
  is_stopped_ = true;
  if (mapping_) device_.stop_queue(queue());
}

void SplitDriver::machine_continues() {
  is_stopped_ = false;
  offer_->wake();
}

}  // namespace kemari::xen
