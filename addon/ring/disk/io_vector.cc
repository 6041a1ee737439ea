#include "ring/disk/io_vector.h"

#include <algorithm>
#include <cstring>

namespace kemari {

uint64_t io_bytes(std::span<const iovec> pieces) noexcept {
  uint64_t sum = 0;
  for (const iovec& piece : pieces) sum += piece.iov_len;
  return sum;
}

void io_append(std::vector<iovec>& pieces, void* data, size_t length) {
  if (length == 0) return;
  if (!pieces.empty() && static_cast<uint8_t*>(pieces.back().iov_base) + pieces.back().iov_len == data) {
    pieces.back().iov_len += length;
    return;
  }
  pieces.push_back({data, length});
}

void io_consume(std::vector<iovec>& pieces, uint64_t count) noexcept {
  size_t whole = 0;
  while (whole < pieces.size() && count >= pieces[whole].iov_len) count -= pieces[whole++].iov_len;
  pieces.erase(pieces.begin(), pieces.begin() + static_cast<ptrdiff_t>(whole));
  if (count > 0) {
    pieces[0].iov_base = static_cast<uint8_t*>(pieces[0].iov_base) + count;
    pieces[0].iov_len -= count;
  }
}

void io_gather(std::span<const iovec> pieces, uint8_t* target, size_t count) noexcept {
  for (const iovec& piece : pieces) {
    const size_t part = std::min(count, piece.iov_len);
    std::memcpy(target, piece.iov_base, part);
    target += part;
    count -= part;
    if (count == 0) return;
  }
}

void io_scatter(std::span<const iovec> pieces, const uint8_t* source, size_t count) noexcept {
  for (const iovec& piece : pieces) {
    const size_t part = std::min(count, piece.iov_len);
    std::memcpy(piece.iov_base, source, part);
    source += part;
    count -= part;
    if (count == 0) return;
  }
}

bool io_aligned(std::span<const iovec> pieces, uint32_t memory, uint32_t length) noexcept {
  for (const iovec& piece : pieces) {
    // SAFETY: the address is only looked at.
    if ((reinterpret_cast<uintptr_t>(piece.iov_base) & (memory - 1)) != 0) return false;
    if ((piece.iov_len & (length - 1)) != 0) return false;
  }
  return true;
}

}  // namespace kemari
