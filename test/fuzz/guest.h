// Guest memory and a queue's layout for fuzz targets: two regions with a hole between them, in one small memfd.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "error.h"
#include "input.h"
#include "memory/guest_memory.h"
#include "ring/split_queue.h"
#include "unique_fd.h"

namespace kemari::fuzz {

inline constexpr uint64_t kHalfBytes = 64 << 10;
inline constexpr uint64_t kHighGpa = 1 << 20;
inline constexpr uint64_t kFrontEndBase = 0x500000000000;

// The queue's parts in the low half; what chains point to lies behind them.
inline constexpr uint64_t kDescriptorGpa = 0;
inline constexpr uint64_t kAvailableGpa = 0x4000;
inline constexpr uint64_t kUsedGpa = 0x5000;
inline constexpr uint64_t kTableGpa = 0x8000;  // room for indirect tables

inline UniqueFd make_ram_fd() {
  UniqueFd fd(memfd_create("fuzz-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  KEMARI_ASSERT(fd.valid() && ftruncate(fd.get(), 2 * kHalfBytes) == 0);
  return fd;
}

inline std::vector<MemoryRegion> two_regions(const std::shared_ptr<RamFile>& file) {
  return {{0, kHalfBytes, kFrontEndBase, 0, file}, {kHighGpa, kHalfBytes, kFrontEndBase + kHighGpa, kHalfBytes, file}};
}

template <typename T>
void poke(RamFile& file, uint64_t offset, T value) {
  std::memcpy(file.data() + offset, &value, sizeof value);
}

// Lets the input write one descriptor. Bits of `shape` keep most of what is written inside memory, so that the rare
// value outside is met by code that has already come far.
inline void write_descriptor(RamFile& file, Input& input, uint64_t table, uint16_t position) {
  const uint8_t shape = input.byte();
  const uint64_t base = (shape & 1) != 0 ? kHighGpa : kTableGpa;
  const uint64_t address = (shape & 0xe0) == 0xe0 ? input.take<uint64_t>() : base + input.word() % 0x7000;
  const uint32_t length = (shape & 0x18) == 0x18 ? input.take<uint32_t>() : input.word() % 0x2000;
  const uint64_t at = table + 16ull * position;
  if (at + 16 > 2 * kHalfBytes) return;
  poke(file, at, address);
  poke(file, at + 8, length);
  poke(file, at + 12, static_cast<uint16_t>(input.byte() & 7));
  poke(file, at + 14, static_cast<uint16_t>(input.byte()));
}

}  // namespace kemari::fuzz
