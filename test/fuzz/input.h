// How a fuzz target reads its input: little-endian values from the front, zeroes once it is used up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace kemari::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(data, size) {}

  bool empty() const noexcept { return rest_.empty(); }

  template <typename T>
  T take() noexcept {
    T value{};
    const auto bytes = take_bytes(sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }

  uint8_t byte() noexcept { return take<uint8_t>(); }
  uint16_t word() noexcept { return take<uint16_t>(); }

  // At most `count` bytes, fewer at the end.
  std::span<const uint8_t> take_bytes(size_t count) noexcept {
    const auto bytes = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(bytes.size());
    return bytes;
  }

 private:
  std::span<const uint8_t> rest_;
};

}  // namespace kemari::fuzz
