#include "ring/xen/event_channel.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

#include "error.h"

namespace kemari::xen {

namespace {

constexpr char kDevice[] = "/dev/xen/evtchn";

// As the kernel has them; its header needs one of Xen's that is not installed.
struct BindInterdomain {
  uint32_t remote_domain;
  uint32_t remote_port;
};
struct Notify {
  uint32_t port;
};
constexpr unsigned long kBindInterdomain = _IOC(_IOC_NONE, 'E', 1, sizeof(BindInterdomain));
constexpr unsigned long kNotify = _IOC(_IOC_NONE, 'E', 4, sizeof(Notify));

}  // namespace

EventChannel::EventChannel(uint16_t domid, uint32_t remote_port)
    : device_(open(kDevice, O_RDWR | O_CLOEXEC | O_NONBLOCK)) {
  if (!device_.valid()) {
    fail_errno("KEMARI_XEN_MISSING", "open", std::string(kDevice) + " cannot be opened; is this dom0, as root?");
  }
  BindInterdomain request{domid, remote_port};
  const int port = ioctl(device_.get(), kBindInterdomain, &request);
  if (port < 0) {
    fail_errno("KEMARI_XEN_EVENT", "ioctl",
               "cannot bind to port " + std::to_string(remote_port) + " of domain " + std::to_string(domid) +
                   "; does another back-end serve it (xen-blkback, xen-netback)?");
  }
  port_ = static_cast<uint32_t>(port);
}

void EventChannel::take() noexcept {
  uint32_t port;
  while (read(device_.get(), &port, sizeof port) == sizeof port) {
    if (write(device_.get(), &port, sizeof port) < 0) return;  // unbound meanwhile: it goes
  }
}

void EventChannel::notify() noexcept {
  Notify request{port_};
  if (ioctl(device_.get(), kNotify, &request) != 0) return;
}

}  // namespace kemari::xen
