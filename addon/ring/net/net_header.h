// The header before every frame (virtio 1.2 section 5.1.6) and the features that give it meaning.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kemari {

// Feature bits (section 5.1.3) as masks, named as the specification names the bits.
inline constexpr uint64_t VIRTIO_NET_F_CSUM = 1ull << 0;
inline constexpr uint64_t VIRTIO_NET_F_GUEST_CSUM = 1ull << 1;
inline constexpr uint64_t VIRTIO_NET_F_MAC = 1ull << 5;
inline constexpr uint64_t VIRTIO_NET_F_GUEST_TSO4 = 1ull << 7;
inline constexpr uint64_t VIRTIO_NET_F_GUEST_TSO6 = 1ull << 8;
inline constexpr uint64_t VIRTIO_NET_F_GUEST_ECN = 1ull << 9;
inline constexpr uint64_t VIRTIO_NET_F_GUEST_UFO = 1ull << 10;
inline constexpr uint64_t VIRTIO_NET_F_HOST_TSO4 = 1ull << 11;
inline constexpr uint64_t VIRTIO_NET_F_HOST_TSO6 = 1ull << 12;
inline constexpr uint64_t VIRTIO_NET_F_HOST_ECN = 1ull << 13;
inline constexpr uint64_t VIRTIO_NET_F_HOST_UFO = 1ull << 14;
inline constexpr uint64_t VIRTIO_NET_F_MRG_RXBUF = 1ull << 15;
inline constexpr uint64_t VIRTIO_NET_F_STATUS = 1ull << 16;
inline constexpr uint64_t VIRTIO_NET_F_GUEST_ANNOUNCE = 1ull << 21;
inline constexpr uint64_t VIRTIO_NET_F_MQ = 1ull << 22;
inline constexpr uint64_t VIRTIO_F_VERSION_1_MASK = 1ull << 32;
inline constexpr uint64_t VIRTIO_NET_F_GUEST_USO4 = 1ull << 54;
inline constexpr uint64_t VIRTIO_NET_F_GUEST_USO6 = 1ull << 55;
inline constexpr uint64_t VIRTIO_NET_F_HOST_USO = 1ull << 56;

// struct virtio_net_hdr; little-endian, which is this machine's order (checked in the .cc). A driver that has accepted
// neither VERSION_1 nor MRG_RXBUF leaves `num_buffers` out.
struct NetHeader {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;
  uint16_t gso_size;
  uint16_t csum_start;
  uint16_t csum_offset;
  uint16_t num_buffers;
};
static_assert(sizeof(NetHeader) == 12);

// The largest frame that either side may send: an IP packet of 65535 bytes behind Ethernet and one VLAN tag.
inline constexpr size_t kMaxFrameBytes = 65535 + 18;
inline constexpr size_t kMinFrameBytes = 14;  // an Ethernet header

// Bytes of the header with these accepted features: 12 or 10.
size_t net_header_bytes(uint64_t features) noexcept;

// What the tap may do to frames for the guest (TUN_F_..., for TUNSETOFFLOAD) with these accepted features.
unsigned tun_offload(uint64_t features) noexcept;

// Whether a driver with these accepted features may send a frame of `frame_bytes` with this header (section 5.1.6.2.1:
// offsets inside the frame, a segmentation type that was negotiated, a segment size, a checksum to complete). Clears
// what a device is to ignore, so that the host's kernel sees nothing but checked values.
bool check_transmit_header(NetHeader& header, size_t frame_bytes, uint64_t features) noexcept;

}  // namespace kemari
