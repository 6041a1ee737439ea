#include "xen/pv_context.h"

#include <cstring>
#include <string>

#include "error.h"

namespace kemari::xen {

namespace {

template <typename Value>
Value read_at(std::span<const uint8_t> bytes, size_t offset) {
  Value value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

uint64_t size_of(const PvContextHeader& header) {
  return sizeof header + uint64_t{header.vcpus} * sizeof(PvContextVcpu) +
         uint64_t{header.event_channels} * sizeof(PvContextEventChannel) +
         (uint64_t{header.array_pages} + header.grant_frames) * sizeof(uint64_t);
}

void add(std::vector<uint64_t>& frames, uint64_t frame) {
  if (frame != kNoFrame) frames.push_back(frame);
}

}  // namespace

PvContextFrames frames_of(std::span<const uint8_t> context) {
  PvContextHeader header{};
  if (context.size() >= sizeof header) header = read_at<PvContextHeader>(context, 0);
  if (header.version != kPvContextVersion || size_of(header) != context.size()) {
    fail("KEMARI_XEN_CONTEXT", "no PV context of version " + std::to_string(kPvContextVersion) + ": version " +
                                   std::to_string(header.version) + ", " + std::to_string(context.size()) + " bytes");
  }
  PvContextFrames frames{header.shared_info_frame, {}, {}, header.grant_version};
  add(frames.events, header.shared_info_frame);
  size_t offset = sizeof header;
  for (uint32_t i = 0; i < header.vcpus; i++, offset += sizeof(PvContextVcpu)) {
    const auto vcpu = read_at<PvContextVcpu>(context, offset);
    add(frames.events, vcpu.vcpu_info_frame);
    add(frames.events, vcpu.control_block_frame);
  }
  offset += header.event_channels * sizeof(PvContextEventChannel);
  for (uint32_t i = 0; i < header.array_pages; i++, offset += sizeof(uint64_t)) {
    add(frames.events, read_at<uint64_t>(context, offset));
  }
  for (uint32_t i = 0; i < header.grant_frames; i++, offset += sizeof(uint64_t)) {
    add(frames.grants, read_at<uint64_t>(context, offset));
  }
  return frames;
}

}  // namespace kemari::xen
