// The memory of a domain of this Xen that waits to be another host's guest: paused, with memory where the guest has it,
// and it has never run. Page numbers are frames.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "link/ram_image.h"
#include "xen/domain.h"
#include "xen/foreign_pages.h"
#include "xen/pv_context.h"

namespace kemari::xen {

class DomainImage final : public RamImage {
 public:
  // Frames [0, frames) may come; maps nothing yet. Throws as Domain and ForeignPages do.
  DomainImage(uint16_t domid, uint64_t frames);

  // What all the domain's memory may hold.
  uint64_t memory_bytes();

  // Maps all the memory that the domain has.
  void open() override { pages_.map_all(domain_); }
  // Has shared_info and the grant table where the guest has them: pages of an epoch may be theirs. Throws
  // KEMARI_XEN_CONTEXT too.
  void prepare(std::span<const uint8_t> machine_state) override;
  uint64_t page_count() const noexcept override { return pages_.frames(); }
  bool is_there(uint64_t first_page, uint64_t count) noexcept override;
  const uint8_t* page(uint64_t page) noexcept override;
  void copy(uint64_t first_page, uint64_t count, const uint8_t* bytes) noexcept override;
  void zero(uint64_t first_page, uint64_t count) noexcept override;

 private:
  Domain domain_;
  ForeignPages pages_;
  PvContextFrames placed_{kNoFrame, {}, {}, 0};
};

// Puts Xen's own pages where the guest has them, those that are not there yet: `placed` says which are, and is brought
// up to date. Calls `moved` with each such frame. Throws as Domain does.
void place_frames(Domain& domain, const PvContextFrames& wanted, PvContextFrames& placed,
                  const std::function<void(uint64_t)>& moved);

}  // namespace kemari::xen
