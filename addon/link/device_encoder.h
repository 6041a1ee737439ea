// Turns a device's cut into DEVICE records: what the standby has in guest memory anyway is not sent a second time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "link/known_pages.h"
#include "link/record.h"
#include "memory/traced_bytes.h"

namespace kemari {

class DeviceEncoder {
 public:
  // The cut must outlive it. `known`: of the cut's epoch; not used later.
  DeviceEncoder(uint32_t device, const TracedBytes& cut, KnownPages& known);

  // The payload of the next record, in pieces; empty: there is none. Valid until the next call.
  std::span<const std::span<const uint8_t>> next();

 private:
  static constexpr size_t kMaxParts = 1024;             // of a record
  static constexpr uint64_t kMaxDataBytes = 512 << 10;  // of a record
  static constexpr uint64_t kLeastPlaceBytes = 64;      // with less, naming the place saves nothing
  static constexpr uint64_t kMaxPlaceBytes = uint64_t{1} << 30;
  static_assert(kDeviceHeadBytes + kMaxParts * kDevicePartBytes + kMaxDataBytes <= kMaxPayloadBytes);

  // In memory it has all its bytes; a record may carry the first of them.
  struct Part {
    DevicePartKind kind;
    uint64_t address;
    const uint8_t* bytes;
    uint64_t length;
  };

  void add_shared(const SharedBytes& shared, KnownPages& known);
  void add_copy(const uint8_t* bytes, const BytesOrigin& origin, KnownPages& known);
  void add_bytes(const uint8_t* bytes, uint64_t length);
  void add_place(uint64_t address, uint64_t length);

  const uint32_t device_;
  std::vector<Part> parts_;
  size_t next_part_ = 0;
  std::vector<uint8_t> head_;
  std::vector<std::span<const uint8_t>> payload_;
};

}  // namespace kemari
