#include "link/stream_encoder.h"

#include <algorithm>
#include <array>
#include <utility>

#include "fault/fault.h"
#include "link/crc32c.h"
#include "link/device_encoder.h"
#include "link/wire_bytes.h"

namespace kemari {

namespace {

// Sections travel in pieces of this size at most, less than a payload may have.
constexpr size_t kSectionBytes = 512 << 10;
static_assert(kSectionBytes <= kMaxPayloadBytes);

}  // namespace

void StreamEncoder::add_to_digest(uint32_t checksum) {
  std::array<uint8_t, sizeof checksum> bytes;
  store_wire(bytes.data(), checksum);
  digest_ = crc32c(digest_, bytes);
}

void StreamEncoder::add_record(std::vector<uint8_t>& to, RecordType type, uint64_t epoch,
                               std::span<const std::span<const uint8_t>> payload) {
  std::array<uint8_t, kRecordHeaderBytes> header;
  add_to_digest(write_header(header.data(), static_cast<uint16_t>(type), epoch, next_number_++, payload));
  to.insert(to.end(), header.begin(), header.end());
  for (const std::span<const uint8_t> piece : payload) to.insert(to.end(), piece.begin(), piece.end());
}

void StreamEncoder::add_section(std::vector<uint8_t>& to, RecordType type, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const std::span<const uint8_t> piece = bytes.first(std::min(bytes.size(), kSectionBytes));
    add_record(to, type, checkpoint_->epoch, {{piece}});
    bytes = bytes.subspan(piece.size());
  }
}

void StreamEncoder::add_devices(std::vector<uint8_t>& to) {
  KnownPages known = pages_.known();
  for (size_t i = 0; i < checkpoint_->devices.size(); i++) {
    DeviceEncoder device(static_cast<uint32_t>(i), checkpoint_->devices[i], known);
    for (auto payload = device.next(); !payload.empty(); payload = device.next()) {
      add_record(to, RecordType::kDevice, checkpoint_->epoch, payload);
    }
  }
}

void StreamEncoder::add_sections(std::vector<uint8_t>& to) {
  add_section(to, RecordType::kMachineState, checkpoint_->machine_state);
  add_devices(to);
  add_section(to, RecordType::kConsole, checkpoint_->console);
}

void StreamEncoder::start(const Checkpoint& checkpoint) {
  checkpoint_ = &checkpoint;
  is_first_ = true;
  epoch_pages_ = 0;
  left_bytes_ = checkpoint.byte_count();
  pages_.start(checkpoint);
}

void StreamEncoder::next(Parcel& parcel, double link_ns_per_byte) {
  const uint64_t epoch = checkpoint_->epoch;
  parcel.epoch = epoch;
  if (std::exchange(is_first_, false) && epoch > 0) {
    fault_point("send.before-header");
    digest_ = 0;
    std::array<uint8_t, kBeginBytes> begin{};
    store_wire<uint32_t>(begin.data(), static_cast<uint32_t>(checkpoint_->devices.size()));
    store_wire<uint32_t>(begin.data() + 4, checkpoint_->guest_paused ? kBeginGuestPaused : 0);
    add_record(parcel.before, RecordType::kBegin, epoch, {{begin}});
    add_sections(parcel.before);
  }
  const uint64_t left_before = pages_.left_pages();
  if (pages_.next(parcel.pages, link_ns_per_byte)) {
    parcel.header.resize(kRecordHeaderBytes);
    add_to_digest(write_header(parcel.header.data(), static_cast<uint16_t>(RecordType::kPages), epoch, next_number_++,
                               parcel.pages.payload()));
    epoch_pages_ += parcel.pages.page_count();
  }
  parcel.ends_item = pages_.left_pages() == 0;
  parcel.done_bytes = parcel.ends_item ? left_bytes_ : (left_before - pages_.left_pages()) * kPageBytes;
  left_bytes_ -= parcel.done_bytes;
  if (!parcel.ends_item || epoch == 0) return;
  std::array<uint8_t, kCommitBytes> commit{};
  store_wire<uint64_t>(commit.data(), epoch_pages_);
  store_wire<uint32_t>(commit.data() + 8, digest_);
  add_record(parcel.after, RecordType::kCommit, epoch, {{commit}});
  parcel.commit_epoch = epoch;
}

void StreamEncoder::encode(const WordMessage& word, Parcel& parcel) {
  add_record(parcel.before, RecordType::kWord, 0, {{word_payload(word.word, word.text)}});
  parcel.ends_item = true;
}

}  // namespace kemari
