// What of a guest of Xen's is neither memory nor a device of kemari's: a checkpoint's machine state.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "xen/abi.h"
#include "xen/domain.h"

namespace kemari::xen {

// Belongs to whoever made the bytes.
struct MachineState {
  std::span<const HvmParam> parameters;  // kHvmParamCallbackIrq is the first; domids mean nothing
  std::span<const uint8_t> hvm_context;
  std::span<const uint8_t> pv_context;
};

// What a guest finds its store, console and interrupts by. Set once by the toolstack, the first one by the guest's
// drivers. Throws as Domain does.
std::vector<HvmParam> read_parameters(Domain& domain);

// Appends. Little-endian: "KXEN", version, three sizes and 0, each 32 bits; the parameters; the HVM context; the PV
// context.
void write_machine_state(const MachineState& from, std::vector<uint8_t>& to);

// Of bytes that somebody else made; they have to be aligned as an allocation is. Throws KEMARI_XEN_CONTEXT where they
// are no machine state of this version.
MachineState read_machine_state(std::span<const uint8_t> from);

}  // namespace kemari::xen
