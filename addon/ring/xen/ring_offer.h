// Where a guest's driver has put its ring, told by whoever speaks to xenstore to the ring thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "unique_fd.h"

namespace kemari::xen {

struct RingPlace {
  std::vector<uint32_t> refs;  // of its pages, in order
  uint32_t port;               // the guest's
};

// Any thread.
class RingOffer {
 public:
  RingOffer();  // throws KEMARI_EVENT_LOOP

  void tell(RingPlace place);
  // Wakes the ring thread without news.
  void wake() noexcept;
  // An eventfd, readable after the two above.
  int fd() const noexcept { return event_.get(); }
  // What is new, once.
  std::optional<RingPlace> take();

 private:
  UniqueFd event_;
  std::mutex mutex_;
  std::optional<RingPlace> place_;
};

}  // namespace kemari::xen
