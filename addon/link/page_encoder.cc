#include "link/page_encoder.h"

#include <lz4.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <limits>

#include "error.h"
#include "link/crc32c.h"
#include "link/wire_bytes.h"
#include "memory/page_bytes.h"

namespace kemari {

namespace {

// A page that stays larger than this travels as it is: unpacking it would cost more than sending the rest.
constexpr size_t kMaxPackedBytes = kPageBytes * 7 / 8;
constexpr double kNewShare = 1.0 / 32;  // of a running mean

uint64_t now_ns() noexcept {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void count(std::atomic<uint64_t>& counter) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

PageBatch::PageBatch() : packed_(kMaxDataPages * kPageBytes), pieces_(1) {}

void PageBatch::clear() noexcept {
  entries_.clear();
  packed_bytes_ = 0;
  pieces_.resize(1);
  data_pages_ = 0;
  page_count_ = 0;
  delta_digest_ = 0;
}

void PageBatch::add_piece(const uint8_t* bytes, size_t size) {
  std::span<const uint8_t>& last = pieces_.back();
  if (pieces_.size() > 1 && last.data() + last.size() == bytes) {
    last = {last.data(), last.size() + size};
  } else {
    pieces_.emplace_back(bytes, size);
  }
}

void PageBatch::add_zero(uint64_t page) {
  page_count_++;
  if (!entries_.empty()) {
    PagesEntry& last = entries_.back();
    if (last.encoding == PageEncoding::kZero && last.first_page + last.page_count == page &&
        last.page_count < std::numeric_limits<uint16_t>::max()) {
      last.page_count++;
      return;
    }
  }
  entries_.push_back({page, 0, 1, PageEncoding::kZero});
}

void PageBatch::add_raw(uint64_t page, const uint8_t* bytes) {
  page_count_++;
  data_pages_++;
  add_piece(bytes, kPageBytes);
  if (!entries_.empty()) {
    PagesEntry& last = entries_.back();
    if (last.encoding == PageEncoding::kRaw && last.first_page + last.page_count == page) {
      last.page_count++;
      last.data_bytes += kPageBytes;
      return;
    }
  }
  entries_.push_back({page, kPageBytes, 1, PageEncoding::kRaw});
}

void PageBatch::add_packed(uint64_t page, PageEncoding encoding, size_t size, std::span<const uint8_t> delta_of) {
  page_count_++;
  data_pages_++;
  add_piece(packed_room(), size);
  packed_bytes_ += size;
  delta_digest_ = crc32c(delta_digest_, delta_of);
  entries_.push_back({page, static_cast<uint32_t>(size), 1, encoding});
}

std::span<const std::span<const uint8_t>> PageBatch::payload() {
  head_.resize(kPagesHeadBytes + entries_.size() * kPagesEntryBytes);
  store_wire<uint32_t>(head_.data(), static_cast<uint32_t>(entries_.size()));
  store_wire<uint32_t>(head_.data() + 4, delta_digest_);
  uint8_t* at = head_.data() + kPagesHeadBytes;
  for (const PagesEntry& entry : entries_) {
    write_entry(at, entry);
    at += kPagesEntryBytes;
  }
  pieces_[0] = head_;
  return pieces_;
}

bool Trial::worth_it(Compress mode, double link_ns_per_byte) noexcept {
  if (mode != Compress::kAuto) return mode == Compress::kAlways;
  if (tries_ < kFirstTries || saved_bytes_ * link_ns_per_byte > cost_ns_) return true;
  return ++refused_ % kTryEvery == 0;
}

void Trial::note(uint64_t cost_ns, size_t saved_bytes) noexcept {
  const double share = tries_ == 0 ? 1 : kNewShare;
  tries_ += tries_ < kFirstTries ? 1 : 0;
  // A thread that lost its processor in between says nothing about the cost.
  const auto cost = std::min(static_cast<double>(cost_ns), tries_ <= 1 ? 1e5 : 8 * cost_ns_ + 1);
  cost_ns_ += share * (cost - cost_ns_);
  saved_bytes_ += share * (static_cast<double>(saved_bytes) - saved_bytes_);
}

PageEncoder::PageEncoder(uint64_t cache_bytes, Compress mode)
    : mode_(mode),
      sent_(mode == Compress::kNever ? 0 : cache_bytes),
      lz4_state_(static_cast<size_t>(LZ4_sizeofState())) {}

void PageEncoder::start(const Checkpoint& checkpoint) {
  checkpoint_ = &checkpoint;
  range_ = 0;
  in_range_ = 0;
  at_ = checkpoint.pages.data();
  left_pages_ = checkpoint.pages.page_count();
}

bool PageEncoder::next(PageBatch& batch, double link_ns_per_byte) {
  link_ns_per_byte_ = link_ns_per_byte;
  batch.clear();
  const std::vector<PageRange>& ranges = checkpoint_->ranges;
  while (left_pages_ > 0 && !batch.is_full()) {
    KEMARI_ASSERT(range_ < ranges.size());
    if (in_range_ == ranges[range_].count) {
      range_++;
      in_range_ = 0;
      continue;
    }
    encode(batch, ranges[range_].first + in_range_, at_);
    in_range_++;
    at_ += kPageBytes;
    left_pages_--;
  }
  return !batch.is_empty();
}

void PageEncoder::encode(PageBatch& batch, uint64_t page, const uint8_t* bytes) {
  if (is_zero_page(bytes)) {
    sent_.forget(page);
    batch.add_zero(page);
    return count(counts_.zero);
  }
  uint8_t* known = sent_.find(page);
  if (known != nullptr && std::memcmp(known, bytes, kPageBytes) == 0) return count(counts_.unchanged);
  if (known != nullptr && encode_delta(batch, page, bytes, known)) {
    count(counts_.delta);
  } else if (encode_lz4(batch, page, bytes)) {
    count(counts_.lz4);
  } else {
    batch.add_raw(page, bytes);
    count(counts_.raw);
  }
  // What is sent ahead is most of memory: remembering it would only push out the pages that are written often.
  if (known == nullptr && checkpoint_->epoch > 0) known = sent_.insert(page);
  if (known != nullptr) std::memcpy(known, bytes, kPageBytes);
}

bool PageEncoder::encode_delta(PageBatch& batch, uint64_t page, const uint8_t* bytes, const uint8_t* base) {
  if (!delta_trial_.worth_it(mode_, link_ns_per_byte_)) return false;
  const uint64_t start_ns = now_ns();
  alignas(64) std::array<uint8_t, kPageBytes> delta;
  xor_page(delta.data(), bytes, base);
  const size_t size = pack(delta.data(), batch.packed_room());
  if (size > 0) batch.add_packed(page, PageEncoding::kDelta, size, {bytes, kPageBytes});
  delta_trial_.note(now_ns() - start_ns, size > 0 ? kPageBytes - size : 0);
  return size > 0;
}

bool PageEncoder::encode_lz4(PageBatch& batch, uint64_t page, const uint8_t* bytes) {
  if (!lz4_trial_.worth_it(mode_, link_ns_per_byte_)) return false;
  const uint64_t start_ns = now_ns();
  const size_t size = pack(bytes, batch.packed_room());
  if (size > 0) batch.add_packed(page, PageEncoding::kLz4, size, {});
  lz4_trial_.note(now_ns() - start_ns, size > 0 ? kPageBytes - size : 0);
  return size > 0;
}

size_t PageEncoder::pack(const uint8_t* bytes, uint8_t* into) {
  constexpr int kAcceleration = 1;
  // SAFETY: lz4 speaks of char where it means octets.
  const int size =
      LZ4_compress_fast_extState(lz4_state_.data(), reinterpret_cast<const char*>(bytes), reinterpret_cast<char*>(into),
                                 static_cast<int>(kPageBytes), static_cast<int>(kMaxPackedBytes), kAcceleration);
  return static_cast<size_t>(std::max(size, 0));
}

}  // namespace kemari
