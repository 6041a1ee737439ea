// Where a guest's driver has put its rings, told by whoever speaks to xenstore to the ring thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "ring/xen/netif_queue.h"
#include "unique_fd.h"

namespace kemari::xen {

struct RingPlace {
  std::vector<uint32_t> refs;  // of its pages, in order
  uint32_t port;               // the guest's
};

// All rings of a device, in the order of its queues. Several may have one port.
struct RingPlaces {
  std::vector<RingPlace> rings;
  NetifOffloads offloads;  // of a NIC
};

// Any thread.
class RingOffer {
 public:
  RingOffer();  // throws KEMARI_EVENT_LOOP

  void tell(RingPlaces places);
  // Wakes the ring thread without news.
  void wake() noexcept;
  // An eventfd, readable after the two above.
  int fd() const noexcept { return event_.get(); }
  // What is new, once.
  std::optional<RingPlaces> take();

 private:
  UniqueFd event_;
  std::mutex mutex_;
  std::optional<RingPlaces> places_;
};

}  // namespace kemari::xen
