// Bytes of which is remembered where in guest memory they were copied from.
#pragma once

#include <cstdint>
#include <vector>

namespace kemari {

struct BytesOrigin {
  uint64_t at;           // of the first byte, in the bytes
  uint64_t file_offset;  // of the same in the file of guest memory
  uint64_t length;       // never 0
};

// Origins are hints: the guest may have written something else there since, so whoever makes use of one compares.
struct TracedBytes {
  std::vector<uint8_t> bytes;
  std::vector<BytesOrigin> origins;  // ascending, inside the bytes, none overlaps another

  void clear() noexcept {
    bytes.clear();
    origins.clear();
  }
};

}  // namespace kemari
