#include "xen/restore.h"

#include <cstddef>
#include <string>
#include <vector>

#include "error.h"
#include "memory/dirty_bitmap.h"
#include "xen/domain_image.h"
#include "xen/foreign_pages.h"
#include "xen/machine_state.h"
#include "xen/pv_context.h"

namespace kemari::xen {

namespace {

// Whoever had these pages mapped did so on another host. A back-end here maps them anew, and Xen then says so again.
void forget_mappings(Domain& domain, const std::vector<uint64_t>& grants) {
  ForeignPages pages(domain.domid(), domain.max_frame() + 1, ForeignPages::Access::kWrite);
  for (const uint64_t frame : grants) {
    uint8_t* const table = pages.writable_at(frame);
    if (table == nullptr) {
      fail("KEMARI_XEN_GUEST", "the guest's grant table is not at frame " + std::to_string(frame));
    }
    // SAFETY: a page of grant entries, aligned; Xen changes entries only as back-ends map them, and there are none yet
    // but the store's and the console's, whose mappings outlive their marks.
    auto* const entries = reinterpret_cast<GrantEntry*>(table);
    for (size_t i = 0; i < kPageBytes / sizeof(GrantEntry); i++) {
      entries[i].flags = static_cast<uint16_t>(entries[i].flags & ~(kGrantReading | kGrantWriting));
    }
  }
}

}  // namespace

void restore(Domain& domain, std::span<const uint8_t> machine_state) {
  const MachineState state = read_machine_state(machine_state);
  const PvContextFrames frames = frames_of(state.pv_context);
  PvContextFrames placed{kNoFrame, {}, {}, 0};
  place_frames(domain, frames, placed, [](uint64_t) {});
  forget_mappings(domain, frames.grants);
  domain.set_hvm_context(state.hvm_context);
  for (const HvmParam& parameter : state.parameters) {
    if (domain.parameter(parameter.index) != parameter.value) domain.set_parameter(parameter.index, parameter.value);
  }
  domain.set_pv_context(state.pv_context);
}

}  // namespace kemari::xen
