// What a guest has granted to this domain, by /dev/xen/gntdev.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ring/xen/grant_copier.h"
#include "unique_fd.h"

namespace kemari::xen {

// Pages of a guest, mapped here next to each other until this goes; readable and writable.
class GrantMapping {
 public:
  // Throws KEMARI_XEN_GRANT.
  GrantMapping(int device, uint16_t domid, std::span<const uint32_t> refs);
  ~GrantMapping();
  GrantMapping(const GrantMapping&) = delete;
  GrantMapping& operator=(const GrantMapping&) = delete;

  std::span<uint8_t> bytes() const noexcept { return {data_, size_bytes_}; }

 private:
  void release() noexcept;

  const int device_;
  uint64_t index_ = 0;
  uint32_t count_;
  uint8_t* data_ = nullptr;
  size_t size_bytes_;
};

// One thread at a time.
class GrantDevice final : public GrantCopier {
 public:
  static constexpr uint32_t kMaxMappedPages = 16;

  // Throws KEMARI_XEN_MISSING where there is no such device.
  explicit GrantDevice(uint16_t domid);

  // Throws KEMARI_XEN_GRANT. It must go before this does.
  std::unique_ptr<GrantMapping> map(std::span<const uint32_t> refs);
  // Nothing is copied any more. What is mapped has gone before.
  void close() noexcept { device_.reset(); }

  void copy(std::span<GrantCopy> copies, Direction direction) noexcept override;

 private:
  const uint16_t domid_;
  UniqueFd device_;
  std::vector<uint8_t> segments_;  // of one call
};

}  // namespace kemari::xen
