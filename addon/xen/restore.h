// From a domain that waits to a guest that can go on.
#pragma once

#include <cstdint>
#include <span>

#include "xen/domain.h"

namespace kemari::xen {

// Makes a paused domain, which has never run and whose memory is that of the guest, the guest of this machine state:
// the next unpause() lets it go on where it was, all its events raised once. What failed half way is good for nothing
// but to be destroyed. Throws as Domain does, KEMARI_XEN_CONTEXT, and KEMARI_XEN_GUEST where the state names memory
// that the domain has not.
void restore(Domain& domain, std::span<const uint8_t> machine_state);

}  // namespace kemari::xen
