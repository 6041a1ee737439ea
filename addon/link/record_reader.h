// Records as they come off a connection.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "link/connection.h"
#include "link/record.h"

namespace kemari {

// A record that passed read_header() and check_record().
struct Record {
  RecordHeader header;
  std::span<const uint8_t> payload;
};

class RecordReader {
 public:
  // Where the payload of a record is to be put; at least header.length bytes.
  using Room = std::function<std::span<uint8_t>(const RecordHeader&)>;

  RecordReader(Connection& connection, Room room) : connection_(connection), room_(std::move(room)) {}

  // The next known record; skips optional ones that this version does not know. Blocks; nullopt when stopped. Throws
  // what the connection, read_header(), check_record() and `room` throw.
  std::optional<Record> next();

 private:
  bool skip_unknown(const RecordHeader& header);

  Connection& connection_;
  Room room_;
  std::array<uint8_t, kRecordHeaderBytes> header_bytes_;
  uint64_t next_number_ = 1;
};

}  // namespace kemari
