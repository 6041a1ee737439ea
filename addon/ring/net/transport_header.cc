#include "ring/net/transport_header.h"

namespace kemari {

namespace {

constexpr size_t kEtherTypeOffset = 12;
constexpr uint16_t kVlan = 0x8100;
constexpr uint16_t kIpv4 = 0x0800;
constexpr uint16_t kIpv6 = 0x86dd;
constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr size_t kIpv4Bytes = 20;
constexpr size_t kIpv6Bytes = 40;
constexpr size_t kTcpBytes = 20;
constexpr size_t kUdpBytes = 8;

struct Place {
  size_t offset;
  uint8_t protocol;
};

uint16_t be16(std::span<const uint8_t> bytes, size_t offset) noexcept {
  return static_cast<uint16_t>(bytes[offset] << 8 | bytes[offset + 1]);
}

std::optional<Place> behind_ipv4(std::span<const uint8_t> frame, size_t at) noexcept {
  if (frame.size() < at + kIpv4Bytes || frame[at] >> 4 != 4) return std::nullopt;
  const size_t header_bytes = (frame[at] & 15u) * 4;
  const bool is_fragment = (be16(frame, at + 6) & 0x3fff) != 0;  // more fragments, or an offset
  if (header_bytes < kIpv4Bytes || is_fragment) return std::nullopt;
  return Place{at + header_bytes, frame[at + 9]};
}

std::optional<Place> behind_ipv6(std::span<const uint8_t> frame, size_t at) noexcept {
  if (frame.size() < at + kIpv6Bytes || frame[at] >> 4 != 6) return std::nullopt;
  Place place{at + kIpv6Bytes, frame[at + 6]};
  // Hop-by-hop options, routing, destination options (RFC 8200 section 4): each at least 8 octets.
  while (place.protocol == 0 || place.protocol == 43 || place.protocol == 60) {
    if (frame.size() < place.offset + 2) return std::nullopt;
    place = {place.offset + (frame[place.offset + 1] + 1u) * 8, frame[place.offset]};
  }
  return place;
}

}  // namespace

std::optional<TransportHeader> find_transport_header(std::span<const uint8_t> frame) noexcept {
  size_t at = kEtherTypeOffset;
  if (frame.size() >= at + 6 && be16(frame, at) == kVlan) at += 4;
  if (frame.size() < at + 2) return std::nullopt;
  const uint16_t type = be16(frame, at);
  const bool is_ipv6 = type == kIpv6;
  std::optional<Place> place;
  if (type == kIpv4) place = behind_ipv4(frame, at + 2);
  if (is_ipv6) place = behind_ipv6(frame, at + 2);
  if (!place) return std::nullopt;
  const size_t start = place->offset;
  TransportHeader header{static_cast<uint16_t>(start), 6, static_cast<uint16_t>(start + kUdpBytes), false, is_ipv6};
  if (place->protocol == kUdp) {
    if (frame.size() < start + kUdpBytes) return std::nullopt;
    return header;
  }
  if (place->protocol != kTcp || frame.size() < start + kTcpBytes) return std::nullopt;
  const size_t header_bytes = (frame[start + 12] >> 4) * 4u;
  if (header_bytes < kTcpBytes || frame.size() < start + header_bytes) return std::nullopt;
  return TransportHeader{static_cast<uint16_t>(start), 16, static_cast<uint16_t>(start + header_bytes), true, is_ipv6};
}

}  // namespace kemari
