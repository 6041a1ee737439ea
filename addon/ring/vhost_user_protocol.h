// Names and layouts of the vhost-user protocol, as QEMU's docs/interop/vhost-user.rst writes them. Native byte order,
// which is little-endian here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kemari {

enum class VhostUserRequest : uint32_t {
  VHOST_USER_GET_FEATURES = 1,
  VHOST_USER_SET_FEATURES = 2,
  VHOST_USER_SET_OWNER = 3,
  VHOST_USER_RESET_OWNER = 4,
  VHOST_USER_SET_MEM_TABLE = 5,
  VHOST_USER_SET_VRING_NUM = 8,
  VHOST_USER_SET_VRING_ADDR = 9,
  VHOST_USER_SET_VRING_BASE = 10,
  VHOST_USER_GET_VRING_BASE = 11,
  VHOST_USER_SET_VRING_KICK = 12,
  VHOST_USER_SET_VRING_CALL = 13,
  VHOST_USER_SET_VRING_ERR = 14,
  VHOST_USER_GET_PROTOCOL_FEATURES = 15,
  VHOST_USER_SET_PROTOCOL_FEATURES = 16,
  VHOST_USER_GET_QUEUE_NUM = 17,
  VHOST_USER_SET_VRING_ENABLE = 18,
  VHOST_USER_GET_CONFIG = 24,
  VHOST_USER_SET_CONFIG = 25,
  VHOST_USER_GET_INFLIGHT_FD = 31,
  VHOST_USER_SET_INFLIGHT_FD = 32,
  VHOST_USER_GET_MAX_MEM_SLOTS = 36,
  VHOST_USER_ADD_MEM_REG = 37,
  VHOST_USER_REM_MEM_REG = 38,
};

// Device feature bit that says the back-end has protocol features.
inline constexpr unsigned VHOST_USER_F_PROTOCOL_FEATURES = 30;

// Protocol feature bits.
inline constexpr unsigned VHOST_USER_PROTOCOL_F_MQ = 0;
inline constexpr unsigned VHOST_USER_PROTOCOL_F_REPLY_ACK = 3;
inline constexpr unsigned VHOST_USER_PROTOCOL_F_CONFIG = 9;
inline constexpr unsigned VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12;
inline constexpr unsigned VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15;

// Header flags.
inline constexpr uint32_t kVhostUserVersionMask = 0x3;
inline constexpr uint32_t kVhostUserVersion = 0x1;
inline constexpr uint32_t kVhostUserReplyFlag = 0x4;
inline constexpr uint32_t kVhostUserNeedReplyFlag = 0x8;

// "Vring descriptor index" payload of SET_VRING_KICK, CALL and ERR.
inline constexpr uint64_t kVringIndexMask = 0xff;
inline constexpr uint64_t kVringNoFdFlag = 0x100;

inline constexpr size_t VHOST_USER_MAX_CONFIG_SIZE = 256;
inline constexpr size_t VHOST_MEMORY_BASELINE_NREGIONS = 8;
inline constexpr size_t kVhostUserMaxFds = VHOST_MEMORY_BASELINE_NREGIONS;

struct VhostUserHeader {
  uint32_t request;
  uint32_t flags;
  uint32_t size;  // of the payload
};
static_assert(sizeof(VhostUserHeader) == 12);

struct VhostUserVringState {
  uint32_t index;
  uint32_t num;
};
static_assert(sizeof(VhostUserVringState) == 8);

struct VhostUserVringAddress {
  uint32_t index;
  uint32_t flags;
  uint64_t descriptor;
  uint64_t used;
  uint64_t available;
  uint64_t log;
};
static_assert(sizeof(VhostUserVringAddress) == 40);

struct VhostUserMemoryRegion {
  uint64_t guest_address;
  uint64_t size;
  uint64_t user_address;
  uint64_t mmap_offset;
};
static_assert(sizeof(VhostUserMemoryRegion) == 32);

struct VhostUserConfigHeader {
  uint32_t offset;
  uint32_t size;
  uint32_t flags;
};
static_assert(sizeof(VhostUserConfigHeader) == 12);

// The specification has 20 bytes here. QEMU sends its structure with the padding behind it, and takes an answer of no
// other size.
struct VhostUserInflight {
  uint64_t mmap_size;
  uint64_t mmap_offset;
  uint16_t queue_count;
  uint16_t queue_size;
  uint32_t padding;
};
inline constexpr size_t kVhostUserInflightBytes = 20;  // without the padding
static_assert(sizeof(VhostUserInflight) == 24);

// The longest payload of those above: SET_CONFIG's, before SET_MEM_TABLE's.
inline constexpr size_t kVhostUserMaxPayloadBytes = sizeof(VhostUserConfigHeader) + VHOST_USER_MAX_CONFIG_SIZE;
static_assert(kVhostUserMaxPayloadBytes >= 8 + VHOST_MEMORY_BASELINE_NREGIONS * sizeof(VhostUserMemoryRegion));

}  // namespace kemari
