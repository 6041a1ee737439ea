// Bytes of which some are shared with their owner, who remembers where in guest memory they were copied from.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace kemari {

struct BytesOrigin {
  uint64_t at;           // of the first byte, in the bytes
  uint64_t file_offset;  // of the same in the file of guest memory
  uint64_t length;       // never 0
};

// Bytes that nobody changes any more, kept alive by whoever has them. Origins are ascending, inside the bytes, and none
// overlaps another; they are hints: the guest may have written something else there since, so whoever makes use of one
// compares.
struct SharedBytes {
  std::shared_ptr<const uint8_t[]> bytes;
  uint64_t length = 0;
  std::vector<BytesOrigin> origins = {};
};

// A sequence of bytes: its own, with shared ones in between.
class TracedBytes {
 public:
  struct Shared {
    uint64_t at;  // before this byte of the sequence's own; ascending
    SharedBytes piece;
  };

  TracedBytes() = default;
  TracedBytes(std::vector<uint8_t> own, std::vector<Shared> shared) : own_(std::move(own)), shared_(std::move(shared)) {
    for (const Shared& each : shared_) shared_bytes_ += each.piece.length;
  }

  uint64_t size() const noexcept { return own_.size() + shared_bytes_; }
  const std::vector<uint8_t>& own() const noexcept { return own_; }
  const std::vector<Shared>& shared() const noexcept { return shared_; }

  // All of it in one piece.
  std::vector<uint8_t> joined() const {
    std::vector<uint8_t> all;
    all.reserve(size());
    auto from = own_.begin();
    for (const auto& [at, piece] : shared_) {
      const auto to = own_.begin() + static_cast<ptrdiff_t>(at);
      all.insert(all.end(), from, to);
      all.insert(all.end(), piece.bytes.get(), piece.bytes.get() + piece.length);
      from = to;
    }
    all.insert(all.end(), from, own_.end());
    return all;
  }

 private:
  std::vector<uint8_t> own_;
  std::vector<Shared> shared_;
  uint64_t shared_bytes_ = 0;
};

}  // namespace kemari
