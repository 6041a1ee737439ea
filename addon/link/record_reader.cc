#include "link/record_reader.h"

#include <algorithm>
#include <vector>

namespace kemari {

std::optional<Record> RecordReader::next() {
  for (;;) {
    if (!connection_.read_all(header_bytes_)) return std::nullopt;
    const RecordHeader header = read_header(header_bytes_, next_number_++);
    if (!is_known(header.type)) {
      if (!skip_unknown(header)) return std::nullopt;
      continue;
    }
    const std::span<uint8_t> payload = room_(header).first(header.length);
    if (!connection_.read_all(payload)) return std::nullopt;
    check_record(header, header_bytes_, payload);
    return Record{header, payload};
  }
}

bool RecordReader::skip_unknown(const RecordHeader& header) {
  std::vector<uint8_t> skipped(header.length);  // read_header() has limited it
  if (!connection_.read_all(skipped)) return false;
  check_record(header, header_bytes_, skipped);
  return true;
}

}  // namespace kemari
