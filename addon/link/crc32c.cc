#include "link/crc32c.h"

#include <x86intrin.h>

#include <array>
#include <cstring>

namespace kemari {

namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // 0x1edc6f41, bits reversed
// The instruction takes three cycles and one can start every cycle: three stripes at once, joined afterwards.
constexpr size_t kStripeBytes = 1024;

constexpr std::array<uint32_t, 256> byte_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); byte++) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
    table[byte] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kByteTable = byte_table();

// What `value` becomes when kStripeBytes zero bytes follow, a byte of it at a time: the step is linear over its bits.
using StripeTables = std::array<std::array<uint32_t, 256>, 4>;
StripeTables stripe_tables() {
  const auto followed_by_zeroes = [](uint32_t value) {
    for (size_t i = 0; i < kStripeBytes; i++) value = (value >> 8) ^ kByteTable[value & 0xff];
    return value;
  };
  std::array<uint32_t, 32> of_bit;
  for (uint32_t bit = 0; bit < of_bit.size(); bit++) of_bit[bit] = followed_by_zeroes(1u << bit);
  StripeTables tables{};
  for (uint32_t place = 0; place < tables.size(); place++) {
    for (uint32_t byte = 0; byte < 256; byte++) {
      for (uint32_t bit = 0; bit < 8; bit++) {
        if ((byte >> bit & 1) != 0) tables[place][byte] ^= of_bit[place * 8 + bit];
      }
    }
  }
  return tables;
}

uint64_t load(const uint8_t* bytes) noexcept {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

__attribute__((target("sse4.2"))) uint32_t crc32c_instruction(uint32_t earlier, std::span<const uint8_t> bytes) {
  static const StripeTables tables = stripe_tables();
  const auto over_stripe = [](uint32_t value) {
    return tables[0][value & 0xff] ^ tables[1][value >> 8 & 0xff] ^ tables[2][value >> 16 & 0xff] ^
           tables[3][value >> 24];
  };
  uint64_t first = static_cast<uint32_t>(~earlier);
  const uint8_t* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 3 * kStripeBytes; left -= 3 * kStripeBytes, at += 3 * kStripeBytes) {
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < kStripeBytes; i += 8) {
      first = _mm_crc32_u64(first, load(at + i));
      second = _mm_crc32_u64(second, load(at + kStripeBytes + i));
      third = _mm_crc32_u64(third, load(at + 2 * kStripeBytes + i));
    }
    first = over_stripe(static_cast<uint32_t>(first)) ^ second;
    first = over_stripe(static_cast<uint32_t>(first)) ^ third;
  }
  for (; left >= 8; left -= 8, at += 8) first = _mm_crc32_u64(first, load(at));
  auto value = static_cast<uint32_t>(first);
  for (; left > 0; left--, at++) value = _mm_crc32_u8(value, *at);
  return ~value;
}

}  // namespace

uint32_t crc32c_portable(uint32_t earlier, std::span<const uint8_t> bytes) noexcept {
  uint32_t value = ~earlier;
  for (const uint8_t byte : bytes) value = (value >> 8) ^ kByteTable[(value ^ byte) & 0xff];
  return ~value;
}

uint32_t crc32c(uint32_t earlier, std::span<const uint8_t> bytes) noexcept {
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  return has_instruction ? crc32c_instruction(earlier, bytes) : crc32c_portable(earlier, bytes);
}

}  // namespace kemari
