#include "link/epoch_staging.h"

#include <lz4.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "error.h"
#include "fault/fault.h"
#include "link/crc32c.h"
#include "link/wire_bytes.h"
#include "memory/page_bytes.h"

namespace kemari {

namespace {

[[noreturn]] void broken(const std::string& rule) {
  fail("KEMARI_LINK_PROTOCOL", "the peer broke the protocol: " + rule);
}

uint64_t pages_for(uint64_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes;
}

uint32_t add_checksum(uint32_t digest, uint32_t checksum) {
  std::array<uint8_t, sizeof checksum> bytes;
  store_wire(bytes.data(), checksum);
  return crc32c(digest, bytes);
}

void append(std::vector<uint8_t>& to, std::span<const uint8_t> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

EpochStaging::EpochStaging(RamImage& ram, Limits limits)
    : ram_(ram),
      limits_(limits),
      arena_(pages_for(limits.staging_bytes)),
      unpacked_(kPageBytes),
      seen_((ram.page_count() + 63) / 64) {
  committed_.devices.resize(limits.device_count);
  next_.devices.resize(limits.device_count);
}

void EpochStaging::charge(uint64_t bytes) {
  if (bytes > limits_.staging_bytes - staged_bytes_) {
    fail("KEMARI_LINK_MEMORY", "epoch " + std::to_string(next_.epoch) + " needs more than the " +
                                   std::to_string(limits_.staging_bytes >> 20) +
                                   " MiB that this standby may keep beside guest memory");
  }
  staged_bytes_ += bytes;
}

uint8_t* EpochStaging::room_for_page() {
  charge(kPageBytes);
  return arena_.append(1);
}

std::span<uint8_t> EpochStaging::payload_room(const RecordHeader& header) {
  KEMARI_ASSERT(header.length <= kMaxPayloadBytes);
  const bool is_kept = header.type == static_cast<uint16_t>(RecordType::kPages) && header.epoch > 0;
  if (!is_kept) {
    if (scratch_.size() < header.length) scratch_.resize(header.length);
    return {scratch_.data(), header.length};
  }
  if (!in_epoch_) broken("PAGES of epoch " + std::to_string(header.epoch) + " came without its BEGIN");
  const uint64_t pages = pages_for(header.length);
  charge(pages * kPageBytes);
  return {arena_.append(pages), header.length};
}

std::optional<CommittedEpoch> EpochStaging::accept(const RecordHeader& header, std::span<const uint8_t> payload) {
  KEMARI_ASSERT(is_applied());
  const auto type = static_cast<RecordType>(header.type);
  if (type == RecordType::kBegin) {
    begin(header, payload);
  } else if (type == RecordType::kPages && header.epoch == 0) {
    if (in_epoch_ || committed_.epoch > 0) broken("pages were sent ahead after the first epoch had begun");
    take_pages(header, payload);
    return std::nullopt;
  } else if (!in_epoch_ || header.epoch != next_.epoch) {
    broken(name_of(header.type) + " of epoch " + std::to_string(header.epoch) + " came " +
           (in_epoch_ ? "within epoch " + std::to_string(next_.epoch) : "without its BEGIN"));
  } else if (type == RecordType::kCommit) {
    return commit(header, payload);
  } else if (type == RecordType::kPages) {
    take_pages(header, payload);
    fault_point("receive.pages");
  } else {
    take_section(header, payload);
  }
  digest_ = add_checksum(digest_, header.checksum);
  epoch_bytes_ += kRecordHeaderBytes + payload.size();
  return std::nullopt;
}

void EpochStaging::begin(const RecordHeader& header, std::span<const uint8_t> payload) {
  if (in_epoch_) broken("BEGIN came within epoch " + std::to_string(next_.epoch));
  if (header.epoch != committed_.epoch + 1) {
    broken("epoch " + std::to_string(header.epoch) + " began after epoch " + std::to_string(committed_.epoch));
  }
  if (payload.size() != kBeginBytes) broken("BEGIN has " + std::to_string(payload.size()) + " bytes");
  const auto device_count = load_wire<uint32_t>(payload.data());
  if (device_count != limits_.device_count) {
    broken("the epoch has " + std::to_string(device_count) + " devices, " + std::to_string(limits_.device_count) +
           " were agreed");
  }
  const auto flags = load_wire<uint32_t>(payload.data() + 4);
  if ((flags & ~kBeginGuestPaused) != 0) broken("BEGIN has flags " + std::to_string(flags));
  fault_point("receive.begun");
  in_epoch_ = true;
  next_.epoch = header.epoch;
  next_.guest_paused = (flags & kBeginGuestPaused) != 0;
  digest_ = 0;
  epoch_pages_ = 0;
  epoch_bytes_ = 0;
}

void EpochStaging::mark_once(const PagesEntry& entry) {
  for (uint64_t page = entry.first_page; page < entry.first_page + entry.page_count; page++) {
    uint64_t& word = seen_[page / 64];
    const uint64_t bit = uint64_t{1} << (page % 64);
    if ((word & bit) != 0) broken("page " + std::to_string(page) + " came twice in one epoch");
    word |= bit;
  }
}

void EpochStaging::take_pages(const RecordHeader& header, std::span<const uint8_t> payload) {
  if (payload.size() < kPagesHeadBytes) broken("PAGES has " + std::to_string(payload.size()) + " bytes");
  const auto entry_count = load_wire<uint32_t>(payload.data());
  const auto expected_digest = load_wire<uint32_t>(payload.data() + 4);
  if (entry_count > (payload.size() - kPagesHeadBytes) / kPagesEntryBytes) {
    broken("PAGES names " + std::to_string(entry_count) + " entries in " + std::to_string(payload.size()) + " bytes");
  }
  std::span<const uint8_t> data = payload.subspan(kPagesHeadBytes + entry_count * kPagesEntryBytes);
  uint32_t digest = 0;
  for (uint32_t i = 0; i < entry_count; i++) {
    const PagesEntry entry = read_entry(payload.data() + kPagesHeadBytes + i * kPagesEntryBytes);
    if (entry.first_page >= ram_.page_count() || entry.page_count > ram_.page_count() - entry.first_page) {
      broken("page " + std::to_string(entry.first_page) + " and " + std::to_string(entry.page_count - 1) +
             " more lie outside guest memory of " + std::to_string(ram_.page_count()) + " pages");
    }
    const bool is_ahead = header.epoch == 0;
    if (is_ahead) require_memory(entry.first_page, entry.page_count);
    if (entry.data_bytes > data.size()) broken("PAGES ends within the data of its entries");
    if (!is_ahead) mark_once(entry);
    const uint8_t* bytes = decode(entry, data.data(), digest);
    data = data.subspan(entry.data_bytes);
    pages_accepted_ += entry.page_count;
    epoch_pages_ += entry.page_count;
    if (!is_ahead) {
      charge(sizeof(Staged));
      staged_.push_back({entry.first_page, entry.page_count, bytes});
    } else if (bytes != nullptr) {
      ram_.copy(entry.first_page, entry.page_count, bytes);
    } else {
      ram_.zero(entry.first_page, entry.page_count);
    }
  }
  if (!data.empty()) broken("PAGES has " + std::to_string(data.size()) + " bytes that no entry names");
  if (digest != expected_digest) {
    fail("KEMARI_LINK_DELTA",
         "pages that came as differences became others than the primary has: guest memory here is "
         "not what the primary believes it to be");
  }
}

const uint8_t* EpochStaging::decode(const PagesEntry& entry, const uint8_t* data, uint32_t& digest) {
  if (entry.encoding == PageEncoding::kZero) return nullptr;
  if (entry.encoding == PageEncoding::kRaw) return data;
  uint8_t* page = in_epoch_ ? room_for_page() : unpacked_.data();
  // SAFETY: lz4 speaks of char where it means octets.
  const int size = LZ4_decompress_safe(reinterpret_cast<const char*>(data), reinterpret_cast<char*>(page),
                                       static_cast<int>(entry.data_bytes), static_cast<int>(kPageBytes));
  if (size != static_cast<int>(kPageBytes)) {
    broken("page " + std::to_string(entry.first_page) + " does not unpack to a page");
  }
  if (entry.encoding == PageEncoding::kDelta) {
    const uint8_t* const before = ram_.page(entry.first_page);
    if (before == nullptr)
      broken("page " + std::to_string(entry.first_page) + " came as a difference, and never before");
    xor_page(page, page, before);
    digest = crc32c(digest, {page, kPageBytes});
  }
  return page;
}

void EpochStaging::require_memory(uint64_t first_page, uint64_t count) {
  if (ram_.is_there(first_page, count)) return;
  broken("the guest has no memory at page " + std::to_string(first_page) + " and " + std::to_string(count - 1) +
         " more");
}

void EpochStaging::take_section(const RecordHeader& header, std::span<const uint8_t> payload) {
  charge(payload.size());
  switch (static_cast<RecordType>(header.type)) {
    case RecordType::kMachineState:
      return append(next_.machine_state, payload);
    case RecordType::kConsole:
      return append(next_.console, payload);
    case RecordType::kDevice:
      return take_device(payload);
    default:
      broken(name_of(header.type) + " came within an epoch");
  }
}

void EpochStaging::take_device(std::span<const uint8_t> payload) {
  if (payload.size() < kDeviceHeadBytes) broken("DEVICE has " + std::to_string(payload.size()) + " bytes");
  const auto index = load_wire<uint32_t>(payload.data());
  const auto part_count = load_wire<uint32_t>(payload.data() + 4);
  if (index >= limits_.device_count) {
    broken("DEVICE " + std::to_string(index) + " came, there are " + std::to_string(limits_.device_count));
  }
  if (part_count > (payload.size() - kDeviceHeadBytes) / kDevicePartBytes) {
    broken("DEVICE names " + std::to_string(part_count) + " parts in " + std::to_string(payload.size()) + " bytes");
  }
  std::span<const uint8_t> data = payload.subspan(kDeviceHeadBytes + part_count * kDevicePartBytes);
  for (uint32_t i = 0; i < part_count; i++) {
    const DevicePart part = read_part(payload.data() + kDeviceHeadBytes + i * kDevicePartBytes);
    if (part.kind == DevicePartKind::kPlace) {
      take_place(index, part);
      continue;
    }
    if (part.length > data.size()) broken("DEVICE ends within the bytes of its parts");
    append(next_.devices[index], data.first(part.length));
    data = data.subspan(part.length);
  }
  if (!data.empty()) broken("DEVICE has " + std::to_string(data.size()) + " bytes that no part names");
}

// Filled in when the epoch is whole: what memory has there may be still to come.
void EpochStaging::take_place(uint32_t device, const DevicePart& part) {
  const uint64_t memory_bytes = ram_.page_count() * kPageBytes;
  if (part.address >= memory_bytes || part.length > memory_bytes - part.address) {
    broken("DEVICE names " + std::to_string(part.length) + " bytes at " + std::to_string(part.address) +
           " of guest memory, outside its " + std::to_string(ram_.page_count()) + " pages");
  }
  charge(part.length + sizeof(Place));
  std::vector<uint8_t>& bytes = next_.devices[device];
  places_.push_back({device, bytes.size(), part.address, part.length});
  bytes.resize(bytes.size() + part.length);
}

// What the epoch says of a page; nullptr: nothing. In order of pages only, see fill_places().
const EpochStaging::Staged* EpochStaging::staged_of(uint64_t page) const noexcept {
  const auto behind = std::ranges::upper_bound(staged_, page, {}, &Staged::first_page);
  if (behind == staged_.begin()) return nullptr;
  const Staged& staged = *(behind - 1);
  return page - staged.first_page < staged.count ? &staged : nullptr;
}

void EpochStaging::fill_places() {
  // No page is named twice: in which order they are applied makes no difference.
  const bool is_sorted = places_.empty() || std::ranges::is_sorted(staged_, {}, &Staged::first_page);
  if (!is_sorted) std::ranges::sort(staged_, {}, &Staged::first_page);
  for (const Place& place : places_) {
    for (uint64_t done = 0; done < place.length;) {
      const uint64_t page = (place.address + done) / kPageBytes;
      const uint64_t in_page = (place.address + done) % kPageBytes;
      const uint64_t length = std::min(place.length - done, kPageBytes - in_page);
      uint8_t* const to = next_.devices[place.device].data() + place.at + done;
      const Staged* const staged = staged_of(page);
      if (staged == nullptr) {
        require_memory(page, 1);
        std::memcpy(to, ram_.page(page) + in_page, length);
      } else if (staged->bytes != nullptr) {
        std::memcpy(to, staged->bytes + (page - staged->first_page) * kPageBytes + in_page, length);
      } else {
        std::memset(to, 0, length);
      }
      done += length;
    }
  }
  places_.clear();
}

CommittedEpoch EpochStaging::commit(const RecordHeader& header, std::span<const uint8_t> payload) {
  if (payload.size() != kCommitBytes) broken("COMMIT has " + std::to_string(payload.size()) + " bytes");
  const auto page_count = load_wire<uint64_t>(payload.data());
  const auto digest = load_wire<uint32_t>(payload.data() + 8);
  if (page_count != epoch_pages_ || digest != digest_ || load_wire<uint32_t>(payload.data() + 12) != 0) {
    broken("COMMIT of epoch " + std::to_string(header.epoch) + " speaks of " + std::to_string(page_count) + " pages, " +
           std::to_string(epoch_pages_) + " came, or what came is not what was sent");
  }
  ram_.prepare(next_.machine_state);
  for (const Staged& staged : staged_) require_memory(staged.first_page, staged.count);
  fill_places();
  in_epoch_ = false;
  std::swap(committed_, next_);
  next_.machine_state.clear();
  for (std::vector<uint8_t>& device : next_.devices) device.clear();
  next_.console.clear();
  std::swap(to_apply_, staged_);
  return {header.epoch, epoch_pages_, epoch_bytes_ + kRecordHeaderBytes + payload.size()};
}

void EpochStaging::apply() noexcept {
  const Staged* const middle = to_apply_.data() + to_apply_.size() / 2;
  for (const Staged& staged : to_apply_) {
    if (&staged == middle) fault_point("apply.half");
    if (staged.bytes != nullptr) {
      ram_.copy(staged.first_page, staged.count, staged.bytes);
    } else {
      ram_.zero(staged.first_page, staged.count);
    }
  }
  forget_marks();
  to_apply_.clear();
  arena_.clear();
  staged_bytes_ = 0;
}

void EpochStaging::forget_marks() noexcept {
  for (const Staged& staged : to_apply_) {
    const uint64_t last = staged.first_page + staged.count - 1;
    std::fill(seen_.begin() + static_cast<ptrdiff_t>(staged.first_page / 64),
              seen_.begin() + static_cast<ptrdiff_t>(last / 64 + 1), 0);
  }
}

}  // namespace kemari
