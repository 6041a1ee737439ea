#include "link/device_encoder.h"

#include <algorithm>
#include <cstring>

#include "error.h"
#include "link/wire_bytes.h"

namespace kemari {

DeviceEncoder::DeviceEncoder(uint32_t device, const TracedBytes& cut, KnownPages& known) : device_(device) {
  const std::vector<uint8_t>& own = cut.own();
  uint64_t done = 0;
  for (const auto& [at, piece] : cut.shared()) {
    KEMARI_ASSERT(at >= done && at <= own.size());
    add_bytes(own.data() + done, at - done);
    add_shared(piece, known);
    done = at;
  }
  add_bytes(own.data() + done, own.size() - done);
}

void DeviceEncoder::add_shared(const SharedBytes& shared, KnownPages& known) {
  const uint8_t* const bytes = shared.bytes.get();
  uint64_t done = 0;
  for (const BytesOrigin& origin : shared.origins) {
    KEMARI_ASSERT(origin.at >= done && origin.at <= shared.length && origin.length <= shared.length - origin.at);
    add_bytes(bytes + done, origin.at - done);
    add_copy(bytes + origin.at, origin, known);
    done = origin.at + origin.length;
  }
  add_bytes(bytes + done, shared.length - done);
}

// Bytes that were copied from guest memory, page by page: equal to what the standby has of it, or to be sent.
void DeviceEncoder::add_copy(const uint8_t* bytes, const BytesOrigin& origin, KnownPages& known) {
  for (uint64_t done = 0; done < origin.length;) {
    const uint64_t address = origin.file_offset + done;
    const uint64_t in_page = address % kPageBytes;
    const uint64_t length = std::min(origin.length - done, kPageBytes - in_page);
    const uint8_t* const page = length < kLeastPlaceBytes ? nullptr : known.find(address / kPageBytes);
    if (page != nullptr && std::memcmp(page + in_page, bytes + done, length) == 0) {
      add_place(address, length);
    } else {
      add_bytes(bytes + done, length);
    }
    done += length;
  }
}

void DeviceEncoder::add_bytes(const uint8_t* bytes, uint64_t length) {
  if (length == 0) return;
  if (!parts_.empty()) {
    Part& last = parts_.back();
    if (last.kind == DevicePartKind::kBytes && last.bytes + last.length == bytes) {
      last.length += length;
      return;
    }
  }
  parts_.push_back({DevicePartKind::kBytes, 0, bytes, length});
}

void DeviceEncoder::add_place(uint64_t address, uint64_t length) {
  if (!parts_.empty()) {
    Part& last = parts_.back();
    const bool goes_on = last.kind == DevicePartKind::kPlace && last.address + last.length == address;
    if (goes_on && last.length + length <= kMaxPlaceBytes) {
      last.length += length;
      return;
    }
  }
  parts_.push_back({DevicePartKind::kPlace, address, nullptr, length});
}

std::span<const std::span<const uint8_t>> DeviceEncoder::next() {
  head_.assign(kDeviceHeadBytes, 0);
  payload_.assign(1, {});  // [0] is the head
  uint32_t count = 0;
  uint64_t room = kMaxDataBytes;
  while (next_part_ < parts_.size() && count < kMaxParts && room > 0) {
    Part& part = parts_[next_part_];
    const bool has_bytes = part.kind == DevicePartKind::kBytes;
    const uint64_t length = has_bytes ? std::min(part.length, room) : part.length;
    head_.resize(head_.size() + kDevicePartBytes);
    write_part(head_.data() + head_.size() - kDevicePartBytes,
               {.address = part.address, .length = static_cast<uint32_t>(length), .kind = part.kind});
    count++;
    if (has_bytes) {
      payload_.emplace_back(part.bytes, length);
      part.bytes += length;
      room -= length;
    }
    part.length -= length;
    if (part.length == 0) next_part_++;
  }
  if (count == 0) return {};
  store_wire<uint32_t>(head_.data(), device_);
  store_wire<uint32_t>(head_.data() + 4, count);
  payload_[0] = head_;
  return payload_;
}

}  // namespace kemari
