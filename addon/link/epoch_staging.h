// A standby's epoch in progress: checked and kept off to the side record by record, and copied into guest memory whole
// once it is complete. No I/O here; everything that comes in is the peer's, hence hostile.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "link/checkpoint.h"
#include "link/ram_image.h"
#include "link/record.h"

namespace kemari {

// What a takeover needs of an epoch beside guest memory.
struct EpochState {
  uint64_t epoch = 0;  // 0: none was committed
  std::vector<uint8_t> machine_state;
  std::vector<std::vector<uint8_t>> devices;
  std::vector<uint8_t> console;
  bool guest_paused = false;
};

struct CommittedEpoch {
  uint64_t epoch;
  uint64_t pages;
  uint64_t bytes;  // as they travelled
};

class EpochStaging {
 public:
  struct Limits {
    uint64_t staging_bytes;  // of one epoch, all told
    uint32_t device_count;
  };

  // `ram` outlives it. Throws KEMARI_LINK_MEMORY.
  EpochStaging(RamImage& ram, Limits limits);

  // Where the payload of this record goes; it has passed read_header(). Valid until accept() has seen it. Throws
  // KEMARI_LINK_MEMORY when the epoch would exceed its limit, KEMARI_LINK_PROTOCOL when the record has no place here.
  std::span<uint8_t> payload_room(const RecordHeader& header);

  // Takes a record that passed check_record(), its payload in payload_room(). A COMMIT that fits all that came makes
  // the epoch the committed one and returns it; apply() has to follow before the next record. Throws
  // KEMARI_LINK_PROTOCOL, KEMARI_LINK_DELTA, KEMARI_LINK_MEMORY, and what RamImage::prepare does; guest memory is then
  // that of the last applied epoch.
  std::optional<CommittedEpoch> accept(const RecordHeader& header, std::span<const uint8_t> payload);

  // Copies the committed epoch into guest memory.
  void apply() noexcept;

  // The last committed epoch.
  const EpochState& committed() const noexcept { return committed_; }
  bool is_applied() const noexcept { return to_apply_.empty(); }
  // Whether an epoch has begun and is not complete.
  bool is_in_epoch() const noexcept { return in_epoch_; }
  uint64_t staged_bytes() const noexcept { return staged_bytes_; }
  uint64_t pages_accepted() const noexcept { return pages_accepted_; }

 private:
  // Pages to be copied, or to become zero where `bytes` is nullptr.
  struct Staged {
    uint64_t first_page;
    uint64_t count;
    const uint8_t* bytes;
  };

  // Bytes of a device's cut that guest memory has, once it is that of the epoch.
  struct Place {
    uint32_t device;
    uint64_t at;  // in the cut
    uint64_t address;
    uint64_t length;
  };

  void begin(const RecordHeader& header, std::span<const uint8_t> payload);
  void take_pages(const RecordHeader& header, std::span<const uint8_t> payload);
  void take_section(const RecordHeader& header, std::span<const uint8_t> payload);
  void take_device(std::span<const uint8_t> payload);
  void take_place(uint32_t device, const DevicePart& part);
  void fill_places();
  const Staged* staged_of(uint64_t page) const noexcept;
  CommittedEpoch commit(const RecordHeader& header, std::span<const uint8_t> payload);
  // The decoded bytes of an entry; nullptr for zeroes. `digest` goes on over what a delta became.
  const uint8_t* decode(const PagesEntry& entry, const uint8_t* data, uint32_t& digest);
  uint8_t* room_for_page();
  void require_memory(uint64_t first_page, uint64_t count);
  void mark_once(const PagesEntry& entry);
  void charge(uint64_t bytes);
  void forget_marks() noexcept;

  RamImage& ram_;
  Limits limits_;
  PageBytes arena_;               // payloads of PAGES and unpacked pages of the epoch in progress
  std::vector<uint8_t> scratch_;  // other payloads
  std::vector<uint8_t> unpacked_;
  std::vector<uint64_t> seen_;  // a bit for each page that this epoch has named
  std::vector<Staged> staged_;
  std::vector<Staged> to_apply_;
  std::vector<Place> places_;
  EpochState committed_;
  EpochState next_;
  bool in_epoch_ = false;
  uint64_t epoch_pages_ = 0;
  uint64_t epoch_bytes_ = 0;
  uint64_t staged_bytes_ = 0;
  uint64_t pages_accepted_ = 0;
  uint32_t digest_ = 0;  // CRC-32C of the checksums of the epoch's records
};

}  // namespace kemari
