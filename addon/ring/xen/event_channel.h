// One event channel between a guest and this domain, by /dev/xen/evtchn.
#pragma once

#include <cstdint>

#include "unique_fd.h"

namespace kemari::xen {

class EventChannel {
 public:
  // Binds to the port that the guest keeps for us. Throws KEMARI_XEN_MISSING, KEMARI_XEN_EVENT.
  EventChannel(uint16_t domid, uint32_t remote_port);

  // Readable when the guest has sent an event; non-blocking.
  int fd() const noexcept { return device_.get(); }
  // Takes the events that there are, and lets the next ones come.
  void take() noexcept;
  // Sends one. A guest that is gone hears nothing.
  void notify() noexcept;

 private:
  UniqueFd device_;  // the binding goes with it
  uint32_t port_ = 0;
};

}  // namespace kemari::xen
