// The constants and layouts of virtio 1.2 section 5.2 (block device), named as there.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kemari {

// Feature bits (section 5.2.3). VIRTIO_BLK_F_CONFIG_WCE is not offered: a cache mode that the guest switches is state
// that a takeover would have to carry; a guest that wants write-through does not accept VIRTIO_BLK_F_FLUSH.
inline constexpr uint64_t VIRTIO_BLK_F_SEG_MAX = 1ull << 2;
inline constexpr uint64_t VIRTIO_BLK_F_RO = 1ull << 5;
inline constexpr uint64_t VIRTIO_BLK_F_BLK_SIZE = 1ull << 6;
inline constexpr uint64_t VIRTIO_BLK_F_FLUSH = 1ull << 9;
inline constexpr uint64_t VIRTIO_BLK_F_TOPOLOGY = 1ull << 10;
inline constexpr uint64_t VIRTIO_BLK_F_MQ = 1ull << 12;
inline constexpr uint64_t VIRTIO_BLK_F_DISCARD = 1ull << 13;
inline constexpr uint64_t VIRTIO_BLK_F_WRITE_ZEROES = 1ull << 14;

// Request types and status bytes (section 5.2.6).
inline constexpr uint32_t VIRTIO_BLK_T_IN = 0;
inline constexpr uint32_t VIRTIO_BLK_T_OUT = 1;
inline constexpr uint32_t VIRTIO_BLK_T_FLUSH = 4;
inline constexpr uint32_t VIRTIO_BLK_T_GET_ID = 8;
inline constexpr uint32_t VIRTIO_BLK_T_DISCARD = 11;
inline constexpr uint32_t VIRTIO_BLK_T_WRITE_ZEROES = 13;

inline constexpr uint8_t VIRTIO_BLK_S_OK = 0;
inline constexpr uint8_t VIRTIO_BLK_S_IOERR = 1;
inline constexpr uint8_t VIRTIO_BLK_S_UNSUPP = 2;

inline constexpr size_t VIRTIO_BLK_ID_BYTES = 20;
inline constexpr uint32_t VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1u << 0;

// Capacity, requests and discard ranges count in these, whatever blk_size says.
inline constexpr uint32_t kSectorBytes = 512;

// The device-readable header of every request.
struct virtio_blk_outhdr {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
static_assert(sizeof(virtio_blk_outhdr) == 16);

// One range of a DISCARD or WRITE_ZEROES request.
struct virtio_blk_discard_write_zeroes {
  uint64_t sector;
  uint32_t num_sectors;
  uint32_t flags;
};
static_assert(sizeof(virtio_blk_discard_write_zeroes) == 16);

// Configuration space (section 5.2.4), little-endian like every host that kemari runs on.
struct __attribute__((packed)) virtio_blk_config {
  uint64_t capacity;  // sectors
  uint32_t size_max;
  uint32_t seg_max;
  uint16_t cylinders;
  uint8_t heads;
  uint8_t sectors;
  uint32_t blk_size;           // bytes
  uint8_t physical_block_exp;  // log2 of logical blocks in a physical one
  uint8_t alignment_offset;    // logical blocks
  uint16_t min_io_size;        // logical blocks
  uint32_t opt_io_size;        // logical blocks
  uint8_t writeback;
  uint8_t unused0;
  uint16_t num_queues;
  uint32_t max_discard_sectors;
  uint32_t max_discard_seg;
  uint32_t discard_sector_alignment;  // sectors
  uint32_t max_write_zeroes_sectors;
  uint32_t max_write_zeroes_seg;
  uint8_t write_zeroes_may_unmap;
  uint8_t unused1[3];
  uint32_t max_secure_erase_sectors;
  uint32_t max_secure_erase_seg;
  uint32_t secure_erase_sector_alignment;
};
static_assert(sizeof(virtio_blk_config) == 72);
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

}  // namespace kemari
