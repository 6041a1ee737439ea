#include "link/record.h"

#include <algorithm>

#include "error.h"
#include "link/crc32c.h"
#include "link/wire_bytes.h"
#include "memory/dirty_bitmap.h"

namespace kemari {

namespace {

constexpr size_t kChecksumOffset = 12;
constexpr uint8_t kTlsHandshake = 22;  // first byte of a TLS ClientHello (RFC 8446, section 5.1)

[[noreturn]] void broken(const std::string& rule) {
  fail("KEMARI_LINK_PROTOCOL", "the peer broke the protocol: " + rule);
}

uint32_t header_checksum(std::span<const uint8_t, kRecordHeaderBytes> header) {
  constexpr std::array<uint8_t, sizeof(uint32_t)> kNothing{};
  uint32_t value = crc32c(0, header.first(kChecksumOffset));
  value = crc32c(value, kNothing);
  return crc32c(value, header.subspan(kChecksumOffset + kNothing.size()));
}

}  // namespace

bool is_primary_word(Word word) noexcept {
  return word == Word::kGo || word == Word::kGoodbye || word == Word::kMachineDied;
}

bool is_known(uint16_t type) noexcept {
  return type >= static_cast<uint16_t>(RecordType::kBegin) && type <= static_cast<uint16_t>(RecordType::kAnswer);
}

std::string name_of(uint16_t type) {
  static constexpr std::array kNames{"BEGIN",  "PAGES", "MACHINE_STATE", "DEVICE", "CONSOLE",
                                     "COMMIT", "ACK",   "WORD",          "RENEW",  "ANSWER"};
  return is_known(type) ? kNames[type - 1] : "type " + std::to_string(type);
}

uint32_t write_header(uint8_t* into, uint16_t type, uint64_t epoch, uint64_t number,
                      std::span<const std::span<const uint8_t>> pieces) {
  size_t length = 0;
  for (const std::span<const uint8_t> piece : pieces) length += piece.size();
  KEMARI_ASSERT(length <= kMaxPayloadBytes);
  store_wire<uint32_t>(into, kRecordMagic);
  store_wire<uint16_t>(into + 4, kRecordVersion);
  store_wire<uint16_t>(into + 6, type);
  store_wire<uint32_t>(into + 8, static_cast<uint32_t>(length));
  store_wire<uint32_t>(into + kChecksumOffset, 0);
  store_wire<uint64_t>(into + 16, epoch);
  store_wire<uint64_t>(into + 24, number);
  uint32_t checksum = crc32c(0, {into, kRecordHeaderBytes});
  for (const std::span<const uint8_t> piece : pieces) checksum = crc32c(checksum, piece);
  store_wire<uint32_t>(into + kChecksumOffset, checksum);
  return checksum;
}

RecordHeader read_header(std::span<const uint8_t, kRecordHeaderBytes> bytes, uint64_t expected_number) {
  const uint8_t* at = bytes.data();
  if (load_wire<uint32_t>(at) != kRecordMagic) {
    if (expected_number == 1 && at[0] == kTlsHandshake) {
      broken("it speaks TLS and this side does not; use --plain on both sides or on none");
    }
    broken("a record does not start with the magic KMRI");
  }
  const auto version = load_wire<uint16_t>(at + 4);
  if (version != kRecordVersion) {
    fail("KEMARI_LINK_VERSION", "the peer speaks version " + std::to_string(version) +
                                    " of the sync stream, this side version " + std::to_string(kRecordVersion) +
                                    "; use the same kemari on both hosts");
  }
  const RecordHeader header{
      .type = load_wire<uint16_t>(at + 6),
      .length = load_wire<uint32_t>(at + 8),
      .epoch = load_wire<uint64_t>(at + 16),
      .number = load_wire<uint64_t>(at + 24),
      .checksum = load_wire<uint32_t>(at + kChecksumOffset),
  };
  if ((header.type & ~kOptionalRecord) == 0) broken("a record has type 0");
  if (!is_known(header.type) && (header.type & kOptionalRecord) == 0) {
    broken("a mandatory record has the unknown type " + std::to_string(header.type));
  }
  if (header.length > kMaxPayloadBytes) {
    broken(name_of(header.type) + " has " + std::to_string(header.length) + " bytes, at most " +
           std::to_string(kMaxPayloadBytes) + " are allowed");
  }
  if (header.number != expected_number) {
    broken("record number " + std::to_string(header.number) + " came where " + std::to_string(expected_number) +
           " was expected");
  }
  return header;
}

void check_record(const RecordHeader& header, std::span<const uint8_t, kRecordHeaderBytes> header_bytes,
                  std::span<const uint8_t> payload) {
  if (crc32c(header_checksum(header_bytes), payload) == header.checksum) return;
  fail("KEMARI_LINK_CHECKSUM",
       name_of(header.type) + " (record " + std::to_string(header.number) + ") arrived damaged: its CRC-32C is wrong");
}

std::vector<uint8_t> whole_record(RecordType type, uint64_t epoch, uint64_t number, std::span<const uint8_t> payload) {
  std::vector<uint8_t> record(kRecordHeaderBytes + payload.size());
  write_header(record.data(), static_cast<uint16_t>(type), epoch, number, {{payload}});
  std::copy(payload.begin(), payload.end(), record.begin() + kRecordHeaderBytes);
  return record;
}

void write_entry(uint8_t* into, const PagesEntry& entry) noexcept {
  store_wire<uint64_t>(into, entry.first_page);
  store_wire<uint32_t>(into + 8, entry.data_bytes);
  store_wire<uint16_t>(into + 12, entry.page_count);
  into[14] = static_cast<uint8_t>(entry.encoding);
  into[15] = 0;
}

PagesEntry read_entry(const uint8_t* bytes) {
  const PagesEntry entry{
      .first_page = load_wire<uint64_t>(bytes),
      .data_bytes = load_wire<uint32_t>(bytes + 8),
      .page_count = load_wire<uint16_t>(bytes + 12),
      .encoding = static_cast<PageEncoding>(bytes[14]),
  };
  if (entry.page_count == 0 || bytes[15] != 0) broken("an entry of PAGES names no page, or has a reserved bit");
  bool fits = false;
  switch (entry.encoding) {
    case PageEncoding::kRaw:
      fits = entry.data_bytes == entry.page_count * kPageBytes;
      break;
    case PageEncoding::kZero:
      fits = entry.data_bytes == 0;
      break;
    case PageEncoding::kLz4:
    case PageEncoding::kDelta:
      fits = entry.page_count == 1 && entry.data_bytes > 0 && entry.data_bytes < kPageBytes;
      break;
    default:
      broken("an entry of PAGES has the unknown encoding " + std::to_string(bytes[14]));
  }
  if (!fits) {
    broken("an entry of PAGES has " + std::to_string(entry.data_bytes) + " bytes for " +
           std::to_string(entry.page_count) + " pages of encoding " + std::to_string(bytes[14]));
  }
  return entry;
}

void write_part(uint8_t* into, const DevicePart& part) noexcept {
  store_wire<uint64_t>(into, part.address);
  store_wire<uint32_t>(into + 8, part.length);
  store_wire<uint32_t>(into + 12, static_cast<uint32_t>(part.kind));
}

DevicePart read_part(const uint8_t* bytes) {
  const auto kind = load_wire<uint32_t>(bytes + 12);
  if (kind != static_cast<uint32_t>(DevicePartKind::kBytes) && kind != static_cast<uint32_t>(DevicePartKind::kPlace)) {
    broken("a part of DEVICE is of the unknown kind " + std::to_string(kind));
  }
  const DevicePart part{
      .address = load_wire<uint64_t>(bytes),
      .length = load_wire<uint32_t>(bytes + 8),
      .kind = static_cast<DevicePartKind>(kind),
  };
  if (part.length == 0) broken("a part of DEVICE has no bytes");
  if (part.kind == DevicePartKind::kBytes && part.address != 0) broken("a part of DEVICE has bytes and a place");
  return part;
}

std::vector<uint8_t> word_payload(Word word, const std::string& text) {
  const size_t text_bytes = std::min(text.size(), kMaxWordTextBytes);
  std::vector<uint8_t> payload(kWordHeadBytes + text_bytes);
  store_wire<uint16_t>(payload.data(), static_cast<uint16_t>(word));
  std::copy_n(text.begin(), text_bytes, payload.begin() + kWordHeadBytes);
  return payload;
}

WordMessage read_word(std::span<const uint8_t> payload, bool from_primary) {
  if (payload.size() < kWordHeadBytes || payload.size() > kWordHeadBytes + kMaxWordTextBytes) {
    broken("WORD has " + std::to_string(payload.size()) + " bytes");
  }
  const auto value = load_wire<uint16_t>(payload.data());
  const auto word = static_cast<Word>(value);
  if (value == 0 || word > Word::kRefused || load_wire<uint16_t>(payload.data() + 2) != 0) {
    broken("WORD has the unknown word " + std::to_string(value));
  }
  if (is_primary_word(word) != from_primary) broken("WORD " + std::to_string(value) + " is for the other side to say");
  constexpr uint8_t kSpace = 0x20;
  constexpr uint8_t kDelete = 0x7f;
  std::string text(payload.begin() + kWordHeadBytes, payload.end());
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < kSpace || c == kDelete; }, '?');
  return {word, std::move(text)};
}

}  // namespace kemari
