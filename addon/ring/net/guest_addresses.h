// The IPv4 addresses that a guest uses on one NIC, learned from what it sends: after a takeover they are announced, so
// that its neighbours' switches send its frames to the new host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ring/net/tap.h"

namespace kemari {

class GuestAddresses {
 public:
  // A guest with more is announced by its MAC address all the same.
  static constexpr size_t kMaxAddresses = 8;

  explicit GuestAddresses(const MacAddress& guest_mac) : mac_(guest_mac) { addresses_.reserve(kMaxAddresses); }

  // Looks at the start of a frame that the guest sends. The bytes may change while they are read.
  void learn(std::span<const uint8_t> frame) noexcept;

  // Big-endian, as on the wire; the one used last is the last.
  const std::vector<uint32_t>& all() const noexcept { return addresses_; }
  void replace(std::vector<uint32_t> addresses);

 private:
  void add(uint32_t address);

  const MacAddress mac_;
  std::vector<uint32_t> addresses_;
};

}  // namespace kemari
