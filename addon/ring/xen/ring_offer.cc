#include "ring/xen/ring_offer.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "error.h"

namespace kemari::xen {

RingOffer::RingOffer() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_.valid()) fail_errno("KEMARI_EVENT_LOOP", "eventfd", "cannot make the waker of a ring of Xen's");
}

void RingOffer::tell(RingPlaces places) {
  {
    const std::lock_guard lock(mutex_);
    places_ = std::move(places);
  }
  wake();
}

void RingOffer::wake() noexcept {
  const uint64_t one = 1;
  if (write(event_.get(), &one, sizeof one) < 0) return;  // full: it will be read
}

std::optional<RingPlaces> RingOffer::take() {
  uint64_t count;
  if (read(event_.get(), &count, sizeof count) < 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  return std::exchange(places_, std::nullopt);
}

}  // namespace kemari::xen
