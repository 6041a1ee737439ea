// A tap interface of this host: made here, put on a bridge, gone when its last descriptor is closed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "unique_fd.h"

namespace kemari {

using MacAddress = std::array<uint8_t, 6>;

// Reads "00:16:3e:01:02:03"; throws KEMARI_NET_MAC for anything else and for multicast addresses.
MacAddress parse_mac(const std::string& text);

class Tap {
 public:
  static constexpr uint32_t kMaxQueues = 8;

  struct Options {
    std::string name;    // [A-Za-z0-9_.-], at most IFNAMSIZ - 1 characters
    std::string bridge;  // empty: on none
    uint32_t queues;     // descriptors, [1, kMaxQueues]
    MacAddress guest_mac;
    bool up = true;  // false: bring_up() comes later; until then no frame goes either way and no switch learns of it
  };

  // Makes the interface, puts it on its bridge and brings it up. Nothing stays behind when it throws:
  // KEMARI_NET_TAP_NAME, KEMARI_NET_TAP_EXISTS, KEMARI_NET_NO_TUN, KEMARI_NET_PERMISSION, KEMARI_NET_TAP,
  // KEMARI_NET_NO_BRIDGE, KEMARI_NET_BRIDGE.
  explicit Tap(const Options& options);

  // Throws KEMARI_NET_TAP, KEMARI_NET_PERMISSION. Idempotent.
  void bring_up();

  // Ends the interface. Nothing but name() and queue_count() is called afterwards. Idempotent.
  void close() noexcept;

  const std::string& name() const noexcept { return name_; }
  int fd(uint32_t queue) const noexcept { return queues_[queue].fd.get(); }
  // Bytes of the virtio header before each frame, as configured.
  size_t header_bytes() const noexcept { return header_bytes_; }
  uint32_t queue_count() const noexcept { return static_cast<uint32_t>(queues_.size()); }
  // Whether the kernel segments UDP (Linux >= 6.2).
  bool has_uso() const noexcept { return has_uso_; }

  // What comes before each frame, and what the kernel may leave to the reader (TUN_F_...). Cheap when nothing changes.
  // Throws KEMARI_NET_TAP.
  void configure(size_t header_bytes, unsigned offload);

  // The kernel spreads frames over attached queues only. All but the first start detached; that one always stays
  // attached. Throws KEMARI_NET_TAP.
  void attach(uint32_t queue, bool attached);

 private:
  struct Queue {
    UniqueFd fd;
    bool attached;
  };
  void open_queue(bool first, bool multi_queue);
  void set_up_link(const Options& options);

  std::string name_;
  std::vector<Queue> queues_;
  bool has_uso_ = false;
  size_t header_bytes_ = 0;
  unsigned offload_ = 0;
};

}  // namespace kemari
