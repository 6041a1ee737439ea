// Turns checkpoints and words into records, a parcel at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "link/page_encoder.h"
#include "link/parcel.h"
#include "link/record.h"

namespace kemari {

// Used by one thread. Records are numbered in the order in which they are encoded.
class StreamEncoder {
 public:
  // Throws KEMARI_LINK_MEMORY.
  StreamEncoder(uint64_t cache_bytes, Compress mode) : pages_(cache_bytes, mode) {}

  // `checkpoint` stays the caller's and must live until its last parcel was sent.
  void start(const Checkpoint& checkpoint);
  // The next part of it; the last one has ends_item. What the encoder needs of the checkpoint's owner is in the parcel.
  void next(Parcel& parcel, double link_ns_per_byte);
  void encode(const WordMessage& word, Parcel& parcel);

  const PageCounts& counts() const noexcept { return pages_.counts(); }

 private:
  void add_record(std::vector<uint8_t>& to, RecordType type, uint64_t epoch,
                  std::span<const std::span<const uint8_t>> payload);
  void add_sections(std::vector<uint8_t>& to);
  void add_section(std::vector<uint8_t>& to, RecordType type, std::span<const uint8_t> bytes);
  void add_devices(std::vector<uint8_t>& to);
  void add_to_digest(uint32_t checksum);

  PageEncoder pages_;
  const Checkpoint* checkpoint_ = nullptr;
  bool is_first_ = false;
  uint64_t next_number_ = 1;
  uint64_t epoch_pages_ = 0;
  uint64_t left_bytes_ = 0;  // of the checkpoint, not accounted for in a parcel yet
  uint32_t digest_ = 0;
};

}  // namespace kemari
