// Turns the pages of a checkpoint into PAGES records: zero pages, deltas against what the standby has, lz4, or as they
// are, whichever pays.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "link/checkpoint.h"
#include "link/known_pages.h"
#include "link/record.h"
#include "memory/sent_pages.h"

namespace kemari {

enum class Compress : uint8_t { kAuto, kAlways, kNever };

struct PageCounts {
  std::atomic<uint64_t> raw{0};
  std::atomic<uint64_t> zero{0};
  std::atomic<uint64_t> lz4{0};
  std::atomic<uint64_t> delta{0};
  std::atomic<uint64_t> unchanged{0};  // left out: the standby has the same
};

// The payload of one PAGES record, in pieces: some lie in the checkpoint, which must outlive the batch.
class PageBatch {
 public:
  static constexpr size_t kMaxDataPages = 64;
  static constexpr size_t kMaxEntries = 512;

  PageBatch();
  PageBatch(const PageBatch&) = delete;
  PageBatch& operator=(const PageBatch&) = delete;

  void clear() noexcept;
  uint64_t page_count() const noexcept { return page_count_; }
  bool is_empty() const noexcept { return entries_.empty(); }
  bool is_full() const noexcept { return data_pages_ >= kMaxDataPages || entries_.size() >= kMaxEntries; }

  void add_zero(uint64_t page);
  void add_raw(uint64_t page, const uint8_t* bytes);
  // Room for one packed page; add_packed() takes the first `size` bytes of it into the batch.
  uint8_t* packed_room() noexcept { return packed_.data() + packed_bytes_; }
  void add_packed(uint64_t page, PageEncoding encoding, size_t size, std::span<const uint8_t> delta_of);

  // Writes the head and gives the whole payload. Valid until clear().
  std::span<const std::span<const uint8_t>> payload();

 private:
  void add_piece(const uint8_t* bytes, size_t size);

  std::vector<PagesEntry> entries_;
  std::vector<uint8_t> head_;    // as it travels: number of entries, digest, entries
  std::vector<uint8_t> packed_;  // never grows: pieces point into it
  size_t packed_bytes_ = 0;
  std::vector<std::span<const uint8_t>> pieces_;  // [0] is for the head
  size_t data_pages_ = 0;
  uint64_t page_count_ = 0;
  uint32_t delta_digest_ = 0;  // CRC-32C of the pages that travel as deltas, as they are
};

// Whether trying one way to make pages smaller pays: what it saves, at the speed of the link, against what it costs.
class Trial {
 public:
  // Tries on even where it does not pay, now and then, since pages and links change.
  bool worth_it(Compress mode, double link_ns_per_byte) noexcept;
  void note(uint64_t cost_ns, size_t saved_bytes) noexcept;

 private:
  static constexpr uint32_t kFirstTries = 64;
  static constexpr uint32_t kTryEvery = 64;
  uint32_t tries_ = 0;
  uint32_t refused_ = 0;
  double cost_ns_ = 0;
  double saved_bytes_ = 0;
};

// Used by one thread.
class PageEncoder {
 public:
  // Throws KEMARI_LINK_MEMORY.
  PageEncoder(uint64_t cache_bytes, Compress mode);

  void start(const Checkpoint& checkpoint);
  // What the standby has once that is applied; to be used before the first next().
  KnownPages known() { return KnownPages(*checkpoint_, sent_); }
  // Fills the batch with what comes next; false when that is nothing, since the standby has it already.
  bool next(PageBatch& batch, double link_ns_per_byte);
  // Of the checkpoint, not looked at yet.
  uint64_t left_pages() const noexcept { return left_pages_; }
  const PageCounts& counts() const noexcept { return counts_; }

 private:
  void encode(PageBatch& batch, uint64_t page, const uint8_t* bytes);
  bool encode_delta(PageBatch& batch, uint64_t page, const uint8_t* bytes, const uint8_t* base);
  bool encode_lz4(PageBatch& batch, uint64_t page, const uint8_t* bytes);
  size_t pack(const uint8_t* bytes, uint8_t* into);  // 0: not worth it

  Compress mode_;
  SentPages sent_;
  std::vector<uint8_t> lz4_state_;
  Trial delta_trial_;
  Trial lz4_trial_;
  PageCounts counts_;
  double link_ns_per_byte_ = 0;
  const Checkpoint* checkpoint_ = nullptr;
  size_t range_ = 0;
  uint64_t in_range_ = 0;
  const uint8_t* at_ = nullptr;
  uint64_t left_pages_ = 0;
};

}  // namespace kemari
