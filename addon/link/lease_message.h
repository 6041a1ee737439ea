// The two messages of the lease connection: RENEW and its ANSWER, records of one size.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "link/record.h"

namespace kemari {

inline constexpr size_t kLeaseMessageBytes = kRecordHeaderBytes + kRenewalBytes;

// `type` is kRenew or kAnswer; `renewal` is the number of the renewal, from 1, and of the record.
std::vector<uint8_t> lease_message(RecordType type, uint64_t renewal);

// Collects messages as they come in pieces. What comes in is the peer's, hence hostile.
class LeaseInbox {
 public:
  explicit LeaseInbox(RecordType expected) : expected_(expected) {}

  // Where the next bytes go; never empty.
  std::span<uint8_t> room() noexcept { return std::span(bytes_).subspan(filled_); }
  // `count` bytes were put into room(). The renewal that the message is about, once it is whole. Throws
  // KEMARI_LINK_PROTOCOL, KEMARI_LINK_VERSION, KEMARI_LINK_CHECKSUM.
  std::optional<uint64_t> take(size_t count);

 private:
  RecordType expected_;
  std::array<uint8_t, kLeaseMessageBytes> bytes_;
  size_t filled_ = 0;
  uint64_t next_number_ = 1;
};

}  // namespace kemari
