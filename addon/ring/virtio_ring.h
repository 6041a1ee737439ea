// The split virtqueue as it lies in guest memory (virtio 1.2 section 2.7). Little-endian, like the hosts we run on. The
// kernel's linux/virtio_ring.h does not compile as C++.
#pragma once

#include <bit>
#include <cstdint>

namespace kemari {

static_assert(std::endian::native == std::endian::little, "rings are little-endian and so is the code that reads them");

// Device features that concern the ring.
inline constexpr unsigned VIRTIO_RING_F_INDIRECT_DESC = 28;
inline constexpr unsigned VIRTIO_RING_F_EVENT_IDX = 29;
inline constexpr unsigned VIRTIO_F_VERSION_1 = 32;

// virtq_desc.flags
inline constexpr uint16_t VIRTQ_DESC_F_NEXT = 1;
inline constexpr uint16_t VIRTQ_DESC_F_WRITE = 2;
inline constexpr uint16_t VIRTQ_DESC_F_INDIRECT = 4;
// virtq_avail.flags and virtq_used.flags
inline constexpr uint16_t VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
inline constexpr uint16_t VIRTQ_USED_F_NO_NOTIFY = 1;

struct virtq_desc {
  uint64_t addr;  // guest physical
  uint32_t len;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(virtq_desc) == 16);

struct virtq_used_elem {
  uint32_t id;   // head of the chain
  uint32_t len;  // bytes written to it
};
static_assert(sizeof(virtq_used_elem) == 8);

// Sections 2.7, 2.7.5, 2.7.6, 2.7.8.
inline constexpr uint64_t kDescriptorTableAlignment = 16;
inline constexpr uint64_t kAvailableRingAlignment = 2;
inline constexpr uint64_t kUsedRingAlignment = 4;
// Both rings: flags, index, entries, event index.
inline constexpr uint64_t kRingIndexOffset = 2;
inline constexpr uint64_t kRingEntriesOffset = 4;
inline constexpr uint64_t kRingEventBytes = 2;
inline constexpr uint64_t kAvailableEntryBytes = 2;

// Whether the other side, which asked to hear of entry `event`, is to be told when the index goes from `before` to
// `now` (section 2.7.7.2).
constexpr bool needs_event(uint16_t event, uint16_t now, uint16_t before) {
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

}  // namespace kemari
