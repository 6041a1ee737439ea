// Guest memory of a standby while nobody runs the guest: what epochs are copied into.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "memory/guest_memory.h"
#include "unique_fd.h"

namespace kemari {

// Used by one thread, after open(). Pages of copy() and zero() were checked by is_there() (asserted).
class RamImage {
 public:
  virtual ~RamImage() = default;

  // Before the first of the following, on the thread that uses it: what takes its time. What it throws ends the link.
  virtual void open() {}
  // An epoch with this machine state is about to be applied: whatever decides where memory is is arranged. What it
  // throws refuses the epoch.
  virtual void prepare(std::span<const uint8_t>) {}
  // Page numbers end below it.
  virtual uint64_t page_count() const noexcept = 0;
  // Whether the guest has memory at all these page numbers, which are below page_count().
  virtual bool is_there(uint64_t first_page, uint64_t count) noexcept = 0;
  // nullptr where there is no memory.
  virtual const uint8_t* page(uint64_t page) noexcept = 0;
  virtual void copy(uint64_t first_page, uint64_t count, const uint8_t* bytes) noexcept = 0;
  virtual void zero(uint64_t first_page, uint64_t count) noexcept = 0;
};

// A memfd.
class RamFileImage final : public RamImage {
 public:
  // The file behind `ram_fd` stays the caller's. Throws KEMARI_RAM_MAP.
  explicit RamFileImage(int ram_fd);

  uint64_t page_count() const noexcept override { return page_count_; }
  bool is_there(uint64_t first_page, uint64_t count) noexcept override;
  const uint8_t* page(uint64_t page) noexcept override;
  void copy(uint64_t first_page, uint64_t count, const uint8_t* bytes) noexcept override;
  // Memory that was never touched stays untouched, and long runs give theirs back: a sparse guest stays sparse.
  void zero(uint64_t first_page, uint64_t count) noexcept override;

 private:
  static constexpr uint64_t kPunchPages = 16;  // from here on a system call is cheaper than writing

  bool is_hole(uint64_t first_page, uint64_t count) const noexcept;

  std::shared_ptr<RamFile> file_;
  UniqueFd fd_;
  uint64_t page_count_;
};

}  // namespace kemari
