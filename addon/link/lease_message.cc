#include "link/lease_message.h"

#include "error.h"
#include "link/wire_bytes.h"

namespace kemari {

std::vector<uint8_t> lease_message(RecordType type, uint64_t renewal) {
  std::array<uint8_t, kRenewalBytes> payload;
  store_wire(payload.data(), renewal);
  return whole_record(type, 0, renewal, payload);
}

std::optional<uint64_t> LeaseInbox::take(size_t count) {
  KEMARI_ASSERT(count <= bytes_.size() - filled_);
  filled_ += count;
  if (filled_ < bytes_.size()) return std::nullopt;
  filled_ = 0;
  const auto header_bytes = std::span(bytes_).first<kRecordHeaderBytes>();
  const std::span<const uint8_t> payload = std::span(bytes_).subspan(kRecordHeaderBytes);
  const RecordHeader header = read_header(header_bytes, next_number_);
  if (header.type != static_cast<uint16_t>(expected_) || header.length != payload.size() || header.epoch != 0) {
    fail("KEMARI_LINK_PROTOCOL", "the peer broke the protocol: " + name_of(header.type) + " of " +
                                     std::to_string(header.length) + " bytes came on the lease connection");
  }
  check_record(header, header_bytes, payload);
  const auto renewal = load_wire<uint64_t>(payload.data());
  if (renewal != next_number_++) {
    fail("KEMARI_LINK_PROTOCOL", "the peer broke the protocol: a lease message is about renewal " +
                                     std::to_string(renewal) + ", expected " + std::to_string(next_number_ - 1));
  }
  return renewal;
}

}  // namespace kemari
