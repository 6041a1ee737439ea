#include "memory/guest_memory.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "error.h"

namespace kemari {

namespace {

[[noreturn]] void refuse(const MemoryRegion& region, const char* why) {
  char text[160];
  std::snprintf(text, sizeof text, "memory region at guest physical address %#llx with %#llx bytes %s",
                static_cast<unsigned long long>(region.gpa), static_cast<unsigned long long>(region.size_bytes), why);
  fail("KEMARI_VHOST_USER_MEMORY", text);
}

bool wraps(uint64_t start, uint64_t size) {
  return start + (size - 1) < start;
}

void check_alone(const MemoryRegion& region) {
  if (region.size_bytes == 0) refuse(region, "is empty");
  if (wraps(region.gpa, region.size_bytes) || wraps(region.front_end_address, region.size_bytes)) {
    refuse(region, "wraps around the address space");
  }
  const uint64_t file_bytes = region.file->size_bytes();
  if (region.file_offset > file_bytes || region.size_bytes > file_bytes - region.file_offset) {
    refuse(region, "reaches past the end of its file");
  }
}

// Whether [start, start + size) and [other, other + other_size) share a byte; neither wraps.
bool overlap(uint64_t start, uint64_t size, uint64_t other, uint64_t other_size) {
  return start <= other + (other_size - 1) && other <= start + (size - 1);
}

uint8_t* within(const MemoryRegion& region, uint64_t start, uint64_t address, uint64_t length) {
  if (address < start || length == 0) return nullptr;
  const uint64_t offset = address - start;
  if (offset >= region.size_bytes || length > region.size_bytes - offset) return nullptr;
  return region.file->data() + region.file_offset + offset;
}

// Sorts a table and checks that it can be one.
void check_table(std::vector<MemoryRegion>& regions) {
  if (regions.size() > GuestMemory::kMaxRegions) fail("KEMARI_VHOST_USER_MEMORY", "too many memory regions");
  for (const MemoryRegion& region : regions) check_alone(region);
  std::sort(regions.begin(), regions.end(), [](const auto& a, const auto& b) { return a.gpa < b.gpa; });
  for (size_t i = 0; i < regions.size(); i++) {
    for (size_t j = i + 1; j < regions.size(); j++) {
      const MemoryRegion &a = regions[i], &b = regions[j];
      if (overlap(a.gpa, a.size_bytes, b.gpa, b.size_bytes) ||
          overlap(a.front_end_address, a.size_bytes, b.front_end_address, b.size_bytes)) {
        refuse(b, "overlaps another one");
      }
    }
  }
}

template <typename Named>
bool names(const Named& named, uint64_t gpa, uint64_t size_bytes, uint64_t front_end_address) {
  return named.gpa == gpa && named.size_bytes == size_bytes && named.front_end_address == front_end_address;
}

}  // namespace

void GuestMemory::set(std::vector<MemoryRegion> regions) {
  check_table(regions);
  replace(std::move(regions));
  owed_.clear();
}

void GuestMemory::add(MemoryRegion region) {
  for (MemoryRegion& known : regions_) {
    const bool same = names(known, region.gpa, region.size_bytes, region.front_end_address) &&
                      known.file == region.file && known.file_offset == region.file_offset;
    if (!same) continue;
    if (++known.repeats > kMaxRepeats) refuse(region, "was added too often");
    return;
  }
  std::vector<MemoryRegion> regions = regions_;
  regions.push_back(std::move(region));
  check_table(regions);
  replace(std::move(regions));
}

void GuestMemory::remove(uint64_t gpa, uint64_t size_bytes, uint64_t front_end_address) {
  const auto is_named = [&](const auto& named) { return names(named, gpa, size_bytes, front_end_address); };
  const auto owed = std::find_if(owed_.begin(), owed_.end(), is_named);
  if (owed != owed_.end()) {
    if (--owed->count == 0) owed_.erase(owed);
    return;
  }
  std::vector<MemoryRegion> regions = regions_;
  const auto found = std::find_if(regions.begin(), regions.end(), is_named);
  if (found == regions.end()) refuse({gpa, size_bytes, front_end_address, 0, nullptr}, "is not there to be removed");
  const uint32_t repeats = found->repeats;
  if (repeats != 0 && owed_.size() == kMaxRegions) refuse(*found, "was added again, like too many before it");
  regions.erase(found);
  replace(std::move(regions));
  if (repeats != 0) owed_.push_back({gpa, size_bytes, front_end_address, repeats});
}

void GuestMemory::replace(std::vector<MemoryRegion> regions) {
  std::vector<std::shared_ptr<RamFile>> retired = retired_;
  for (const MemoryRegion& old : regions_) {
    const bool still_named = std::any_of(regions.begin(), regions.end(),
                                         [&](const MemoryRegion& region) { return region.file == old.file; });
    if (!still_named && std::find(retired.begin(), retired.end(), old.file) == retired.end()) {
      retired.push_back(old.file);
    }
  }
  if (retired.size() > kMaxRegions) {
    fail("KEMARI_VHOST_USER_MEMORY", "memory was replaced too often while requests in flight need the old one");
  }
  retired_ = std::move(retired);
  regions_ = std::move(regions);
}

uint8_t* GuestMemory::at_gpa(uint64_t gpa, uint64_t length) const noexcept {
  for (const MemoryRegion& region : regions_) {
    if (uint8_t* hva = within(region, region.gpa, gpa, length)) return hva;
  }
  return nullptr;
}

std::span<uint8_t> GuestMemory::prefix_at_gpa(uint64_t gpa, uint64_t length) const noexcept {
  for (const MemoryRegion& region : regions_) {
    if (gpa < region.gpa || gpa - region.gpa >= region.size_bytes) continue;
    const uint64_t offset = gpa - region.gpa;
    return {region.file->data() + region.file_offset + offset, std::min(length, region.size_bytes - offset)};
  }
  return {};
}

uint8_t* GuestMemory::at_front_end(uint64_t address, uint64_t length) const noexcept {
  for (const MemoryRegion& region : regions_) {
    if (uint8_t* hva = within(region, region.front_end_address, address, length)) return hva;
  }
  return nullptr;
}

std::optional<uint64_t> GuestMemory::gpa_of(const uint8_t* hva, uint64_t length) const noexcept {
  for (const MemoryRegion& region : regions_) {
    // Compared as numbers: the pointer may belong to another file's mapping.
    const auto start = reinterpret_cast<uintptr_t>(region.file->data() + region.file_offset);
    const auto offset = reinterpret_cast<uintptr_t>(hva) - start;
    if (offset < region.size_bytes && length <= region.size_bytes - offset) return region.gpa + offset;
  }
  return std::nullopt;
}

std::vector<BytesOrigin> GuestMemory::origins_of(std::span<const iovec> pieces) const {
  std::vector<BytesOrigin> origins;
  uint64_t at = 0;
  for (const iovec& piece : pieces) {
    for (const MemoryRegion& region : regions_) {
      // Compared as numbers: the pointer may belong to anything.
      const auto start = reinterpret_cast<uintptr_t>(region.file->data());
      const auto offset = reinterpret_cast<uintptr_t>(piece.iov_base) - start;
      if (offset >= region.file->size_bytes() || piece.iov_len > region.file->size_bytes() - offset) continue;
      if (piece.iov_len != 0) origins.push_back({at, offset, piece.iov_len});
      break;
    }
    at += piece.iov_len;
  }
  return origins;
}

void GuestMemory::mark_dirty(const uint8_t* hva, uint64_t length) const noexcept {
  if (length == 0) return;
  const auto mark = [&](RamFile& file) {
    // Compared as numbers: the pointer may belong to another file's mapping.
    const auto offset = reinterpret_cast<uintptr_t>(hva) - reinterpret_cast<uintptr_t>(file.data());
    if (offset >= file.size_bytes()) return false;
    file.dirty().mark(offset, length);
    return true;
  };
  for (const MemoryRegion& region : regions_) {
    if (mark(*region.file)) return;
  }
  for (const std::shared_ptr<RamFile>& file : retired_) {
    if (mark(*file)) return;
  }
  assertion_failed("marked memory is guest memory", __FILE__, __LINE__);
}

}  // namespace kemari
