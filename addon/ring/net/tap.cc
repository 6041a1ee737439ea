#include "ring/net/tap.h"

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstring>

#include "error.h"

namespace kemari {

namespace {

constexpr int kTunUso4And6 = 0x20 | 0x40;  // TUN_F_USO4 | TUN_F_USO6, younger than Debian 12's headers
constexpr uint8_t kTapMacPrefix = 0xfe;    // highest: a bridge that takes its lowest member's address keeps its own

void check_name(const std::string& name, const char* what) {
  constexpr const char* kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  const bool fits = !name.empty() && name.size() < IFNAMSIZ && name != "." && name != "..";
  if (fits && name.find_first_not_of(kAllowed) == std::string::npos) return;
  fail("KEMARI_NET_TAP_NAME",
       std::string(what) + " '" + name + "' is not usable as a network interface: expected 1 to " +
           std::to_string(IFNAMSIZ - 1) + " characters of [A-Za-z0-9_.-]; set vifname= in the vif");
}

ifreq request_for(const std::string& name) {
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());
  return request;
}

[[noreturn]] void fail_privileged(const char* code, const char* call, const std::string& message) {
  const int error = errno;
  if (error == EPERM || error == EACCES) {
    fail_errno("KEMARI_NET_PERMISSION", call, message + ": CAP_NET_ADMIN is needed, run as root", error);
  }
  fail_errno(code, call, message, error);
}

void call(int fd, unsigned long number, void* argument, const char* name, const std::string& message) {
  if (::ioctl(fd, number, argument) < 0) fail_privileged("KEMARI_NET_TAP", name, message);
}

// Keeps the host from giving itself an address on the guest's wire. A host without IPv6 has no such file.
void disable_ipv6(const std::string& name) {
  const std::string path = "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6";
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return;
  if (::write(file.get(), "1", 1) != 1) fail_errno("KEMARI_NET_TAP", "write", "cannot write " + path);
}

bool is_bridge(int socket, const std::string& name) {
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  ifreq request = request_for(name);
  request.ifr_data = reinterpret_cast<char*>(&driver);
  return ::ioctl(socket, SIOCETHTOOL, &request) == 0 && std::strcmp(driver.driver, "bridge") == 0;
}

void join_bridge(int socket, const std::string& tap, const std::string& bridge) {
  const unsigned bridge_index = ::if_nametoindex(bridge.c_str());
  if (bridge_index == 0) {
    fail("KEMARI_NET_NO_BRIDGE", "bridge '" + bridge + "' for tap '" + tap +
                                     "' does not exist: create it (ip link add " + bridge +
                                     " type bridge; ip link set " + bridge + " up) or name another in the vif");
  }
  if (!is_bridge(socket, bridge)) {
    fail("KEMARI_NET_BRIDGE",
         "'" + bridge + "' for tap '" + tap + "' is no bridge: name a bridge in the vif (ip link show type bridge)");
  }
  // The bridge's own MTU is the smallest of its members': joining must not lower it.
  ifreq mtu = request_for(bridge);
  call(socket, SIOCGIFMTU, &mtu, "SIOCGIFMTU", "cannot read the MTU of bridge '" + bridge + "'");
  std::memset(mtu.ifr_name, 0, sizeof(mtu.ifr_name));
  std::memcpy(mtu.ifr_name, tap.data(), tap.size());
  call(socket, SIOCSIFMTU, &mtu, "SIOCSIFMTU", "cannot give tap '" + tap + "' the MTU of bridge '" + bridge + "'");

  ifreq request = request_for(bridge);
  request.ifr_ifindex = static_cast<int>(::if_nametoindex(tap.c_str()));
  if (::ioctl(socket, SIOCBRADDIF, &request) < 0) {
    fail_privileged(
        "KEMARI_NET_BRIDGE", "SIOCBRADDIF",
        "cannot put tap '" + tap + "' on '" + bridge + "' (is it a bridge? see ip -d link show " + bridge + ")");
  }
}

}  // namespace

MacAddress parse_mac(const std::string& text) {
  MacAddress mac{};
  char end = 0;
  const int found = std::sscanf(text.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2],
                                &mac[3], &mac[4], &mac[5], &end);
  if (found != 6 || text.size() != 17) {
    fail("KEMARI_NET_MAC", "MAC address '" + text + "' is not understood: expected six pairs like 00:16:3e:01:02:03");
  }
  if (mac[0] & 1) fail("KEMARI_NET_MAC", "MAC address '" + text + "' is a group address: expected an even first octet");
  return mac;
}

Tap::Tap(const Options& options) : name_(options.name) {
  check_name(options.name, "tap name");
  if (!options.bridge.empty()) check_name(options.bridge, "bridge name");
  KEMARI_ASSERT(options.queues >= 1 && options.queues <= kMaxQueues);
  for (uint32_t index = 0; index < options.queues; index++) open_queue(index == 0, options.queues > 1);
  for (uint32_t index = 1; index < options.queues; index++) attach(index, false);
  has_uso_ = ::ioctl(queues_[0].fd.get(), TUNSETOFFLOAD, TUN_F_CSUM | kTunUso4And6) == 0;
  offload_ = ~0u;  // not known to be anything: set in any case
  configure(sizeof(uint16_t) * 6, 0);
  set_up_link(options);
}

void Tap::open_queue(bool first, bool multi_queue) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) {
    fail_privileged("KEMARI_NET_NO_TUN", "open",
                    "cannot open /dev/net/tun (modprobe tun, or give the container the device)");
  }
  ifreq request = request_for(name_);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (multi_queue) request.ifr_flags |= IFF_MULTI_QUEUE;
  if (first) request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_TUN_EXCL);
  if (::ioctl(fd.get(), TUNSETIFF, &request) < 0) {
    if (first && (errno == EBUSY || errno == EINVAL || errno == EEXIST) && ::if_nametoindex(name_.c_str()) != 0) {
      fail_errno("KEMARI_NET_TAP_EXISTS", "TUNSETIFF",
                 "an interface '" + name_ + "' exists already: another domain's, or a leftover (ip link del " + name_ +
                     "); or set vifname= in the vif");
    }
    fail_privileged("KEMARI_NET_TAP", "TUNSETIFF", "cannot make tap '" + name_ + "'");
  }
  queues_.push_back({std::move(fd), true});
}

void Tap::set_up_link(const Options& options) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) fail_errno("KEMARI_NET_TAP", "socket", "cannot open a socket to configure tap '" + name_ + "'");
  ifreq request = request_for(name_);
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  std::memcpy(request.ifr_hwaddr.sa_data, options.guest_mac.data(), options.guest_mac.size());
  request.ifr_hwaddr.sa_data[0] = static_cast<char>(kTapMacPrefix);
  call(socket.get(), SIOCSIFHWADDR, &request, "SIOCSIFHWADDR", "cannot set the address of tap '" + name_ + "'");
  disable_ipv6(name_);
  if (!options.bridge.empty()) join_bridge(socket.get(), name_, options.bridge);
  if (options.up) bring_up();
}

void Tap::bring_up() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) fail_errno("KEMARI_NET_TAP", "socket", "cannot open a socket to bring up tap '" + name_ + "'");
  ifreq request = request_for(name_);
  call(socket.get(), SIOCGIFFLAGS, &request, "SIOCGIFFLAGS", "cannot read the flags of tap '" + name_ + "'");
  request.ifr_flags |= IFF_UP;
  call(socket.get(), SIOCSIFFLAGS, &request, "SIOCSIFFLAGS", "cannot bring up tap '" + name_ + "'");
}

void Tap::close() noexcept {
  for (Queue& queue : queues_) queue.fd.reset();
}

void Tap::configure(size_t header_bytes, unsigned offload) {
  if (header_bytes != header_bytes_) {
    int size = static_cast<int>(header_bytes);
    call(queues_[0].fd.get(), TUNSETVNETHDRSZ, &size, "TUNSETVNETHDRSZ",
         "cannot set the header size of tap '" + name_ + "'");
    header_bytes_ = header_bytes;
  }
  if (offload != offload_) {
    // SAFETY: TUNSETOFFLOAD takes its flags as the argument itself.
    call(queues_[0].fd.get(), TUNSETOFFLOAD, reinterpret_cast<void*>(static_cast<uintptr_t>(offload)), "TUNSETOFFLOAD",
         "cannot set the offloads of tap '" + name_ + "'");
    offload_ = offload;
  }
}

void Tap::attach(uint32_t queue, bool attached) {
  if (queue == 0 || queues_[queue].attached == attached) return;
  ifreq request{};
  request.ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
  call(queues_[queue].fd.get(), TUNSETQUEUE, &request, "TUNSETQUEUE", "cannot switch a queue of tap '" + name_ + "'");
  queues_[queue].attached = attached;
}

}  // namespace kemari
