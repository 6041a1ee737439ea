// A domain's memory, mapped here page by page of its own address space and kept mapped: mapping 256 scattered pages
// anew costs six times what it costs to read them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "xen/domain.h"
#include "xen/libraries.h"

namespace kemari::xen {

class ForeignPages {
 public:
  enum class Access { kRead, kWrite };

  // For frames [0, frames); maps nothing yet. Throws KEMARI_XEN_MISSING.
  ForeignPages(uint16_t domid, uint64_t frames, Access access);
  ~ForeignPages();
  ForeignPages(const ForeignPages&) = delete;
  ForeignPages& operator=(const ForeignPages&) = delete;

  // Maps all that is there of them, ahead of at(). Throws as Domain does.
  void map_all(Domain& domain);
  // Valid while this lives. nullptr where the domain has no memory: asked again the next time, since it may get some.
  const uint8_t* at(uint64_t frame);
  // The same, to be written (asserted).
  uint8_t* writable_at(uint64_t frame);
  uint64_t frames() const noexcept { return pages_.size(); }
  // As of the last call for it.
  bool is_mapped(uint64_t frame) const noexcept { return pages_[frame] != nullptr; }
  // There is another page at this frame now.
  void forget(uint64_t frame) noexcept { pages_[frame] = nullptr; }

 private:
  struct Mapping {
    void* address;
    size_t pages;
  };
  void map(std::span<const uint64_t> frames);

  uint16_t domid_;
  Access access_;
  xenforeignmemory_handle* memory_;
  std::vector<uint8_t*> pages_;
  std::vector<Mapping> mappings_;
};

}  // namespace kemari::xen
