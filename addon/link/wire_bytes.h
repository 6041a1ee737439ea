// Little-endian integers in byte buffers.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace kemari {

static_assert(std::endian::native == std::endian::little, "kemari runs on x86-64");

template <std::unsigned_integral Value>
Value load_wire(const uint8_t* bytes) noexcept {
  Value value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <std::unsigned_integral Value>
void store_wire(uint8_t* bytes, Value value) noexcept {
  std::memcpy(bytes, &value, sizeof value);
}

}  // namespace kemari
