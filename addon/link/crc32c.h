// CRC-32C (Castagnoli), as iSCSI and ext4 use it (RFC 3720, section 12.1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace kemari {

// The checksum of `earlier`'s bytes followed by `bytes`; start with 0.
uint32_t crc32c(uint32_t earlier, std::span<const uint8_t> bytes) noexcept;

// The same without the processor's instruction; for machines that lack it, and for tests.
uint32_t crc32c_portable(uint32_t earlier, std::span<const uint8_t> bytes) noexcept;

}  // namespace kemari
