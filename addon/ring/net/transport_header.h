// Where a frame's transport header is: what a driver that only says "complete the checksum" leaves to be found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace kemari {

struct TransportHeader {
  uint16_t start;            // in the frame
  uint16_t checksum_offset;  // from `start`
  uint16_t end;              // where the payload begins
  bool is_tcp;
  bool is_ipv6;
};

// Headers never reach further into a frame: Ethernet, a VLAN tag, IPv4 with options or IPv6 with extensions, TCP.
inline constexpr size_t kMaxHeaderBytes = 256;

// Of a frame of TCP or UDP that is no fragment; `start` are its first bytes, kMaxHeaderBytes or all of it. nullopt
// where its headers are not there, or not whole.
std::optional<TransportHeader> find_transport_header(std::span<const uint8_t> start) noexcept;

}  // namespace kemari
