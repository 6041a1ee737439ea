// What a PV context (patches/xen) names of a guest's memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "xen/abi.h"

namespace kemari::xen {

struct PvContextFrames {
  uint64_t shared_info;          // or kNoFrame
  std::vector<uint64_t> events;  // shared_info, vcpu_info, control blocks and event array: Xen writes them at any time
  std::vector<uint64_t> grants;  // of the grant table
  uint32_t grant_version;
};

// Throws KEMARI_XEN_CONTEXT where these are no such bytes.
PvContextFrames frames_of(std::span<const uint8_t> context);

}  // namespace kemari::xen
