#include "ring/net/net_header.h"

#include <linux/if_tun.h>

#include <bit>

namespace kemari {

static_assert(std::endian::native == std::endian::little, "virtio-net headers are used in place");

namespace {

constexpr uint8_t kNeedsCsum = 1;  // VIRTIO_NET_HDR_F_NEEDS_CSUM
constexpr uint8_t kGsoNone = 0;    // VIRTIO_NET_HDR_GSO_...
constexpr uint8_t kGsoTcpV4 = 1;
constexpr uint8_t kGsoUdp = 3;
constexpr uint8_t kGsoTcpV6 = 4;
constexpr uint8_t kGsoUdpL4 = 5;
constexpr uint8_t kGsoEcn = 0x80;

// Younger than Debian 12's headers (Linux 6.2).
constexpr unsigned kTunUso4 = 0x20;
constexpr unsigned kTunUso6 = 0x40;

// The features of which one must have been accepted for this gso_type (without the ECN bit); 0 when there is no such
// type.
uint64_t features_for(uint8_t gso_type) {
  switch (gso_type) {
    case kGsoTcpV4:
      return VIRTIO_NET_F_HOST_TSO4;
    case kGsoTcpV6:
      return VIRTIO_NET_F_HOST_TSO6;
    case kGsoUdp:
      return VIRTIO_NET_F_HOST_UFO;
    case kGsoUdpL4:
      return VIRTIO_NET_F_HOST_USO;
    default:
      return 0;
  }
}

bool check_segmentation(const NetHeader& header, size_t frame_bytes, uint64_t features) {
  const uint8_t type = header.gso_type & ~kGsoEcn;
  if ((features & features_for(type)) == 0) return false;
  const bool is_tcp = type == kGsoTcpV4 || type == kGsoTcpV6;
  if ((header.gso_type & kGsoEcn) != 0 && (!is_tcp || (features & VIRTIO_NET_F_HOST_ECN) == 0)) return false;
  return header.gso_size != 0 && header.hdr_len <= frame_bytes && (header.flags & kNeedsCsum) != 0;
}

}  // namespace

size_t net_header_bytes(uint64_t features) noexcept {
  const bool has_num_buffers = (features & (VIRTIO_F_VERSION_1_MASK | VIRTIO_NET_F_MRG_RXBUF)) != 0;
  return has_num_buffers ? sizeof(NetHeader) : offsetof(NetHeader, num_buffers);
}

unsigned tun_offload(uint64_t features) noexcept {
  if ((features & VIRTIO_NET_F_GUEST_CSUM) == 0) return 0;  // every other one needs it
  unsigned offload = TUN_F_CSUM;
  if (features & VIRTIO_NET_F_GUEST_TSO4) offload |= TUN_F_TSO4;
  if (features & VIRTIO_NET_F_GUEST_TSO6) offload |= TUN_F_TSO6;
  if ((offload & (TUN_F_TSO4 | TUN_F_TSO6)) && (features & VIRTIO_NET_F_GUEST_ECN)) offload |= TUN_F_TSO_ECN;
  if (features & VIRTIO_NET_F_GUEST_UFO) offload |= TUN_F_UFO;
  constexpr uint64_t kUso = VIRTIO_NET_F_GUEST_USO4 | VIRTIO_NET_F_GUEST_USO6;
  if ((features & kUso) == kUso) offload |= kTunUso4 | kTunUso6;  // Linux takes both or none
  return offload;
}

bool check_transmit_header(NetHeader& header, size_t frame_bytes, uint64_t features) noexcept {
  if (frame_bytes < kMinFrameBytes || frame_bytes > kMaxFrameBytes) return false;
  header.flags &= kNeedsCsum;  // a device ignores the other flags
  header.num_buffers = 0;
  if (header.flags == 0) {
    header.csum_start = 0;
    header.csum_offset = 0;
  } else {
    if ((features & VIRTIO_NET_F_CSUM) == 0) return false;
    if (size_t{header.csum_start} + header.csum_offset + sizeof(uint16_t) > frame_bytes) return false;
  }
  if (header.gso_type != kGsoNone) return check_segmentation(header, frame_bytes, features);
  header.gso_size = 0;
  header.hdr_len = 0;  // a hint for segmentation only
  return true;
}

}  // namespace kemari
