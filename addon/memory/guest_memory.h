// Guest RAM as a back-end sees it: regions that the front-end describes, mapped once a file however often and by
// however many devices they are named.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "memory/dirty_bitmap.h"
#include "memory/traced_bytes.h"
#include "unique_fd.h"

namespace kemari {

// A RAM file (memfd) mapped whole, shared. One instance for each inode in the process: `map` returns the living one.
class RamFile {
 public:
  static constexpr uint64_t kMaxBytes = 4ull << 40;

  // Maps the file behind `fd`, which stays the caller's. Throws KEMARI_RAM_MAP when it is not a mappable file, or is
  // not sealed against shrinking and cannot be: whoever shrinks it could end this process (SIGBUS).
  static std::shared_ptr<RamFile> map(int fd);
  ~RamFile();

  uint8_t* data() const noexcept { return data_; }
  uint64_t size_bytes() const noexcept { return size_bytes_; }
  DirtyBitmap& dirty() noexcept { return dirty_; }

 private:
  RamFile(uint8_t* data, uint64_t size_bytes, uint64_t device, uint64_t inode);
  RamFile(const RamFile&) = delete;
  RamFile& operator=(const RamFile&) = delete;
  uint8_t* data_;
  uint64_t size_bytes_;
  uint64_t device_;
  uint64_t inode_;
  DirtyBitmap dirty_;
};

// Where guest physical addresses [gpa, gpa + size_bytes) lie: in `file` from `file_offset` on. The front-end speaks of
// ring addresses in its own address space, where the region starts at `front_end_address`.
struct MemoryRegion {
  uint64_t gpa;
  uint64_t size_bytes;
  uint64_t front_end_address;
  uint64_t file_offset;
  std::shared_ptr<RamFile> file;
  uint32_t repeats = 0;  // how often it was added again
};

// The regions of one device. Not thread-safe: used under the device's lock.
class GuestMemory {
 public:
  static constexpr size_t kMaxRegions = 509;  // VHOST_USER_MAX_RAM_SLOTS of QEMU

  // Replaces all regions. Throws KEMARI_VHOST_USER_MEMORY for overlap, wrap-around or a region outside its file; the
  // old table then stays.
  void set(std::vector<MemoryRegion> regions);
  // Adding what is there already changes nothing: QEMU 7.2 adds and removes each region once for every queue pair of a
  // NIC. Throws as set() does.
  void add(MemoryRegion region);
  // Removes the region with these three values; throws KEMARI_VHOST_USER_MEMORY when there is none. A region that was
  // added n times may be removed n times; the first goes for all.
  void remove(uint64_t gpa, uint64_t size_bytes, uint64_t front_end_address);
  // Files that no region names any more stay mapped, for requests in flight, until this is called.
  void release_retired() noexcept { retired_.clear(); }
  // Forgets all regions, mappings included: nothing may be in flight.
  void clear() noexcept {
    regions_.clear();
    retired_.clear();
    owed_.clear();
  }

  // The address of [gpa, gpa + length) here, or nullptr when it is not wholly inside one region. `length` 0 is refused.
  uint8_t* at_gpa(uint64_t gpa, uint64_t length) const noexcept;
  // The part of [gpa, gpa + length) that lies in the region of its first byte; empty when that is in none.
  std::span<uint8_t> prefix_at_gpa(uint64_t gpa, uint64_t length) const noexcept;
  uint8_t* at_front_end(uint64_t address, uint64_t length) const noexcept;

  // The guest physical address of [hva, hva + length), which at_gpa() would translate back; none when it is not wholly
  // inside one region.
  std::optional<uint64_t> gpa_of(const uint8_t* hva, uint64_t length) const noexcept;

  // Where in their files these pieces lie: the origins of bytes that were copied from them, in this order. What is no
  // guest memory, or not any more, has none.
  std::vector<BytesOrigin> origins_of(std::span<const iovec> pieces) const;

  // Marks [hva, hva + length), which at_gpa or at_front_end returned, as written by us; also where its region is gone
  // since (the file is still guest memory). `length` may be 0.
  void mark_dirty(const uint8_t* hva, uint64_t length) const noexcept;

  std::span<const MemoryRegion> regions() const noexcept { return regions_; }

 private:
  // A removal that is still to come, of what is removed already.
  struct Owed {
    uint64_t gpa;
    uint64_t size_bytes;
    uint64_t front_end_address;
    uint32_t count;
  };
  static constexpr uint32_t kMaxRepeats = 64;  // a device has no more queue pairs

  void replace(std::vector<MemoryRegion> regions);

  std::vector<MemoryRegion> regions_;              // by gpa, ascending
  std::vector<Owed> owed_;                         // at most kMaxRegions
  std::vector<std::shared_ptr<RamFile>> retired_;  // at most kMaxRegions
};

}  // namespace kemari
