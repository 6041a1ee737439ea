// The records of the sync stream and the lease connection; src/wire/README.md has the octet tables.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kemari {

inline constexpr uint32_t kRecordMagic = 0x49524d4b;  // "KMRI"
inline constexpr uint16_t kRecordVersion = 1;
inline constexpr size_t kRecordHeaderBytes = 32;
inline constexpr uint32_t kMaxPayloadBytes = 1 << 20;
inline constexpr uint16_t kOptionalRecord = 0x8000;  // bit of the type: who does not know the type skips the record
inline constexpr size_t kMaxWordTextBytes = 1000;

enum class RecordType : uint16_t {
  kBegin = 1,
  kPages = 2,
  kMachineState = 3,
  kDevice = 4,
  kConsole = 5,
  kCommit = 6,
  kAck = 7,
  kWord = 8,
  kRenew = 9,
  kAnswer = 10,
};

enum class Word : uint16_t {
  kGo = 1,
  kGoodbye = 2,
  kMachineDied = 3,
  kSwitchover = 4,
  kTaken = 5,
  kDisarmed = 6,
  kRefused = 7,
};
bool is_primary_word(Word word) noexcept;  // one that a primary says; the others are a standby's

enum class PageEncoding : uint8_t {
  kRaw = 1,
  kZero = 2,
  kLz4 = 3,
  kDelta = 4,  // lz4 of the page XOR what the standby has of it
};

// What a part of a device's cut is: bytes that travel with it, or those that guest memory has at a place with the epoch
// applied.
enum class DevicePartKind : uint8_t { kBytes = 1, kPlace = 2 };

inline constexpr size_t kBeginBytes = 8;
inline constexpr uint32_t kBeginGuestPaused = 1;  // bit of BEGIN's flags
inline constexpr size_t kPagesHeadBytes = 8;
inline constexpr size_t kPagesEntryBytes = 16;
inline constexpr size_t kDeviceHeadBytes = 8;
inline constexpr size_t kDevicePartBytes = 16;
inline constexpr size_t kCommitBytes = 16;
inline constexpr size_t kWordHeadBytes = 4;
inline constexpr size_t kRenewalBytes = 8;

struct RecordHeader {
  uint16_t type;  // as it stands on the wire: a RecordType, or an unknown one with kOptionalRecord
  uint32_t length;
  uint64_t epoch;
  uint64_t number;    // of this record in its direction, from 1
  uint32_t checksum;  // CRC-32C of the header with this field 0, and the payload
};

// Writes the header of a record whose payload has `pieces`, and returns the checksum that is in it.
uint32_t write_header(uint8_t* into, uint16_t type, uint64_t epoch, uint64_t number,
                      std::span<const std::span<const uint8_t>> pieces);

// Reads 32 bytes. Throws KEMARI_LINK_PROTOCOL for a wrong magic, number, type 0, unknown mandatory type, or a length
// beyond the limit; KEMARI_LINK_VERSION for another version.
RecordHeader read_header(std::span<const uint8_t, kRecordHeaderBytes> bytes, uint64_t expected_number);

// Throws KEMARI_LINK_CHECKSUM. `header_bytes` are those that `header` was read from.
void check_record(const RecordHeader& header, std::span<const uint8_t, kRecordHeaderBytes> header_bytes,
                  std::span<const uint8_t> payload);

// Whether the type is one of RecordType; read_header() lets no other mandatory one through.
bool is_known(uint16_t type) noexcept;
std::string name_of(uint16_t type);

// A whole record, header and payload, in one piece.
std::vector<uint8_t> whole_record(RecordType type, uint64_t epoch, uint64_t number, std::span<const uint8_t> payload);

struct PagesEntry {
  uint64_t first_page;
  uint32_t data_bytes;
  uint16_t page_count;
  PageEncoding encoding;
};
void write_entry(uint8_t* into, const PagesEntry& entry) noexcept;
// Throws KEMARI_LINK_PROTOCOL when no page, an unknown encoding, or a length that does not belong to it is named.
PagesEntry read_entry(const uint8_t* bytes);

struct DevicePart {
  uint64_t address;  // of a place: offset in the guest memory file; else 0
  uint32_t length;   // bytes, never 0
  DevicePartKind kind;
};
void write_part(uint8_t* into, const DevicePart& part) noexcept;
// Throws KEMARI_LINK_PROTOCOL when it is none: no bytes, of an unknown kind, or with what its kind does not have.
DevicePart read_part(const uint8_t* bytes);

struct WordMessage {
  Word word;
  std::string text;
};
std::vector<uint8_t> word_payload(Word word, const std::string& text);
// Throws KEMARI_LINK_PROTOCOL for an unknown word, or one that this side says itself. Control characters of the text
// become '?'.
WordMessage read_word(std::span<const uint8_t> payload, bool from_primary);

}  // namespace kemari
