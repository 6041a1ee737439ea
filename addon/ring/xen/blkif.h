// The ring between a guest's block driver and its back-end, as it lies in a shared page
// (xen/include/public/io/blkif.h). These are the layouts of 64-bit x86; a 32-bit driver packs differently and says so
// ("protocol").
#pragma once

#include <cstddef>
#include <cstdint>

#include "ring/xen/ring_layout.h"

namespace kemari::xen {

inline constexpr uint8_t BLKIF_OP_READ = 0;
inline constexpr uint8_t BLKIF_OP_WRITE = 1;
inline constexpr uint8_t BLKIF_OP_FLUSH_DISKCACHE = 3;
inline constexpr uint8_t BLKIF_OP_DISCARD = 5;
inline constexpr uint8_t BLKIF_OP_INDIRECT = 6;
inline constexpr uint8_t BLKIF_DISCARD_SECURE = 1;

inline constexpr int16_t BLKIF_RSP_OKAY = 0;
inline constexpr int16_t BLKIF_RSP_ERROR = -1;
inline constexpr int16_t BLKIF_RSP_EOPNOTSUPP = -2;

inline constexpr uint32_t BLKIF_MAX_SEGMENTS_PER_REQUEST = 11;
inline constexpr uint32_t BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST = 8;

// Sectors of 512 bytes [first, last] of a granted page.
struct blkif_request_segment {
  uint32_t gref;
  uint8_t first_sect;
  uint8_t last_sect;
  uint16_t pad;
};

struct blkif_request {
  uint8_t operation;
  uint8_t nr_segments;
  uint16_t handle;
  uint64_t id;
  uint64_t sector_number;  // of 512 bytes, whatever the disk's are
  blkif_request_segment seg[BLKIF_MAX_SEGMENTS_PER_REQUEST];
};

struct blkif_request_discard {
  uint8_t operation;
  uint8_t flag;
  uint16_t handle;
  uint64_t id;
  uint64_t sector_number;
  uint64_t nr_sectors;
};

struct blkif_request_indirect {
  uint8_t operation;
  uint8_t indirect_op;
  uint16_t nr_segments;
  uint64_t id;
  uint64_t sector_number;
  uint16_t handle;
  uint32_t indirect_grefs[BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST];
};

struct blkif_response {
  uint64_t id;
  uint8_t operation;
  int16_t status;
};

inline constexpr size_t kBlkifEntryBytes = 112;
inline constexpr uint32_t kSegmentsPerIndirectPage = kPageBytes / sizeof(blkif_request_segment);
static_assert(sizeof(blkif_request_segment) == 8 && sizeof(blkif_request) == kBlkifEntryBytes);
static_assert(offsetof(blkif_request, id) == 8 && sizeof(blkif_request_discard) == 32);
static_assert(offsetof(blkif_request_indirect, indirect_grefs) == 28 && sizeof(blkif_request_indirect) == 64);
static_assert(sizeof(blkif_response) == 16 && offsetof(blkif_response, status) == 10);

}  // namespace kemari::xen
