// Small arithmetic on lists of memory pieces.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kemari {

uint64_t io_bytes(std::span<const iovec> pieces) noexcept;

// Appends a piece, joined with the last one where they touch.
void io_append(std::vector<iovec>& pieces, void* data, size_t length);

// Takes `count` bytes off the front; `count` is at most the sum.
void io_consume(std::vector<iovec>& pieces, uint64_t count) noexcept;

// Copies `count` bytes from the front of `pieces` to `target`, or from `source` to the front of `pieces`; `count` is at
// most the sum. Nothing is consumed.
void io_gather(std::span<const iovec> pieces, uint8_t* target, size_t count) noexcept;
void io_scatter(std::span<const iovec> pieces, const uint8_t* source, size_t count) noexcept;

// Whether every piece starts at a multiple of `memory` and is a multiple of `length` long (powers of two).
bool io_aligned(std::span<const iovec> pieces, uint32_t memory, uint32_t length) noexcept;

}  // namespace kemari
