// What all rings of Xen's begin with, as they lie in a shared page (xen/include/public/io/ring.h).
#pragma once

#include <cstdint>

namespace kemari::xen {

inline constexpr uint32_t kPageBytes = 4096;  // what a grant covers

// The head of every ring. Indexes only grow and wrap; an entry is at index & (entries - 1).
struct SharedRingHead {
  uint32_t req_prod;   // the driver's: requests
  uint32_t req_event;  // the back-end's: tell me when req_prod reaches this
  uint32_t rsp_prod;   // the back-end's: answers
  uint32_t rsp_event;  // the driver's: tell me when rsp_prod reaches this
  uint8_t reserved[48];
};
static_assert(sizeof(SharedRingHead) == 64);

}  // namespace kemari::xen
