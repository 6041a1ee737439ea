// Looking at and combining whole pages.
#pragma once

#include <cstdint>
#include <cstring>

#include "memory/dirty_bitmap.h"

namespace kemari {

inline bool is_zero_page(const uint8_t* page) noexcept {
  uint64_t first;
  std::memcpy(&first, page, sizeof first);
  // Equal to itself one word on, and the first word is 0.
  return first == 0 && std::memcmp(page, page + sizeof first, kPageBytes - sizeof first) == 0;
}

// `into` = `one` XOR `other`, a page each; `into` may be one of them.
inline void xor_page(uint8_t* into, const uint8_t* one, const uint8_t* other) noexcept {
  for (size_t at = 0; at < kPageBytes; at += sizeof(uint64_t)) {
    uint64_t left;
    uint64_t right;
    std::memcpy(&left, one + at, sizeof left);
    std::memcpy(&right, other + at, sizeof right);
    left ^= right;
    std::memcpy(into + at, &left, sizeof left);
  }
}

}  // namespace kemari
