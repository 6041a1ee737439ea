// Fuzz target: the check of what a guest says about a frame that it sends. Whatever passes must be safe for the host's
// kernel; whatever passes once must pass again unchanged.
#include "ring/net/net_header.h"

#include <cstring>

#include "error.h"
#include "input.h"

namespace kemari::fuzz {
namespace {

constexpr uint8_t kNeedsCsum = 1;
constexpr uint8_t kGsoEcn = 0x80;

// Whether the guest may use this kind of segmentation, said another way than in the code under test.
bool segmentation_was_accepted(uint8_t gso_type, uint64_t features) {
  switch (gso_type & ~kGsoEcn) {
    case 1:
      return (features & VIRTIO_NET_F_HOST_TSO4) != 0;
    case 3:
      return (features & VIRTIO_NET_F_HOST_UFO) != 0;
    case 4:
      return (features & VIRTIO_NET_F_HOST_TSO6) != 0;
    case 5:
      return (features & VIRTIO_NET_F_HOST_USO) != 0;
    default:
      return false;
  }
}

void run(Input input) {
  const auto features = input.take<uint64_t>();
  const size_t frame_bytes = input.take<uint32_t>() % (2 * kMaxFrameBytes);
  auto header = input.take<NetHeader>();
  const size_t header_bytes = net_header_bytes(features);
  KEMARI_ASSERT(header_bytes == 10 || header_bytes == 12);
  static_cast<void>(tun_offload(features));
  if (!check_transmit_header(header, frame_bytes, features)) return;

  KEMARI_ASSERT(frame_bytes >= kMinFrameBytes && frame_bytes <= kMaxFrameBytes);
  KEMARI_ASSERT((header.flags & ~kNeedsCsum) == 0);
  KEMARI_ASSERT(header.num_buffers == 0);
  if (header.flags != 0) {
    KEMARI_ASSERT((features & VIRTIO_NET_F_CSUM) != 0);
    KEMARI_ASSERT(size_t{header.csum_start} + header.csum_offset + 2 <= frame_bytes);
  }
  if (header.gso_type != 0) {
    KEMARI_ASSERT(segmentation_was_accepted(header.gso_type, features));
    KEMARI_ASSERT(header.flags == kNeedsCsum && header.gso_size != 0 && header.hdr_len <= frame_bytes);
  }
  NetHeader again = header;
  KEMARI_ASSERT(check_transmit_header(again, frame_bytes, features));
  KEMARI_ASSERT(std::memcmp(&again, &header, sizeof header) == 0);
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
