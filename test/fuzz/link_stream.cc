// Fuzz target: a standby's whole way from the octets of a connection to guest memory, as LinkReceiver goes it: the
// connection, the reader of records, staging, decoding, and the application of whole epochs. Whatever a peer that holds
// the key sends: memory changes only by pages sent ahead and by whole epochs, and the reader ends with an error that
// has a name.
#include <lz4.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "error.h"
#include "input.h"
#include "link/connection.h"
#include "link/crc32c.h"
#include "link/epoch_staging.h"
#include "link/record_reader.h"
#include "link/wire_bytes.h"
#include "memory/page_bytes.h"

namespace kemari::fuzz {
namespace {

constexpr uint64_t kPages = 4;
constexpr uint32_t kDevices = 2;
constexpr uint64_t kStagingBytes = 10 * kPageBytes;
constexpr size_t kMaxRecords = 24;
// Of what is sent: it fits into the socket's buffer, so that one thread can be both sides.
constexpr size_t kMaxStreamBytes = 96 << 10;

// The peer: writes records that are right where the input does not say otherwise.
class Peer {
 public:
  std::span<const uint8_t> stream() const noexcept { return stream_; }
  bool is_full() const noexcept { return records_ >= kMaxRecords || stream_.size() > kMaxStreamBytes - 3 * kPageBytes; }

  void next(Input& input) {
    records_++;
    const uint8_t operation = input.byte();
    switch (operation % 11) {
      case 0:
        return begin(input);
      case 1:
      case 2:
      case 3:
        return pages(input);
      case 4:
        return section(RecordType::kMachineState, input);
      case 5:
        return section(RecordType::kConsole, input);
      case 6:
        return device(input);
      case 7:
      case 8:
        return commit(input);
      case 9:
        return word(input);
      default:
        return any(input, operation);
    }
  }

 private:
  void record(uint16_t type, uint64_t epoch, std::span<const uint8_t> payload, Input& input) {
    std::array<uint8_t, kRecordHeaderBytes> header;
    const uint32_t checksum = write_header(header.data(), type, epoch, number_++, {{payload}});
    const uint8_t flaw = input.byte();
    if (flaw >= 0xf8) header[input.byte() % header.size()] ^= static_cast<uint8_t>(1 + input.byte() % 255);
    stream_.insert(stream_.end(), header.begin(), header.end());
    stream_.insert(stream_.end(), payload.begin(), payload.end());
    if (flaw == 0xf7) stream_.resize(stream_.size() - 1 - input.byte() % kRecordHeaderBytes);
    if ((type & kOptionalRecord) != 0) return;
    std::array<uint8_t, sizeof checksum> bytes;
    store_wire(bytes.data(), checksum);
    digest_ = crc32c(digest_, bytes);
  }

  void begin(Input& input) {
    std::array<uint8_t, kBeginBytes> payload{};
    const uint8_t flaw = input.byte();
    store_wire<uint32_t>(payload.data(), flaw < 0xf0 ? kDevices : flaw & 7);
    if (flaw != 0xff && epoch_++ == 0) next_ = committed_;
    digest_ = 0;  // an epoch's begins with its BEGIN
    epoch_pages_ = 0;
    record(static_cast<uint16_t>(RecordType::kBegin), epoch_, payload, input);
  }

  void pages(Input& input) {
    const uint8_t count = input.byte() % 5;
    std::vector<uint8_t> payload(kPagesHeadBytes + count * kPagesEntryBytes);
    std::vector<uint8_t> data;
    uint32_t digest = 0;
    for (uint8_t i = 0; i < count; i++) add_entry(payload, i, data, digest, input);
    store_wire<uint32_t>(payload.data(), count);
    store_wire<uint32_t>(payload.data() + 4, input.byte() == 0xff ? digest + 1 : digest);
    payload.insert(payload.end(), data.begin(), data.end());
    if (input.byte() == 0xff) payload.resize(payload.size() - std::min<size_t>(payload.size(), input.byte()));
    record(static_cast<uint16_t>(RecordType::kPages), input.byte() < 0xf0 ? epoch_ : 0, payload, input);
  }

  void add_entry(std::vector<uint8_t>& payload, uint8_t i, std::vector<uint8_t>& data, uint32_t& digest, Input& input) {
    const uint8_t shape = input.byte();
    PagesEntry entry{input.byte() % (kPages + ((shape & 0xc0) == 0xc0 ? 2 : 0)), 0, 1, PageEncoding::kZero};
    std::array<uint8_t, kPageBytes> page;
    page.fill(input.byte());
    const auto drawn = input.take_bytes(input.byte() & 31);
    std::copy(drawn.begin(), drawn.end(), page.begin() + input.byte());
    switch (shape & 3) {
      case 0:
        entry.page_count = static_cast<uint16_t>(1 + (shape >> 2 & 1));
        break;
      case 1:
        entry.encoding = PageEncoding::kRaw;
        entry.data_bytes = kPageBytes;
        data.insert(data.end(), page.begin(), page.end());
        break;
      default: {
        entry.encoding = (shape & 3) == 2 ? PageEncoding::kLz4 : PageEncoding::kDelta;
        const size_t at = data.size();
        data.resize(at + LZ4_COMPRESSBOUND(kPageBytes));
        auto* packed = reinterpret_cast<char*>(data.data() + at);
        const int size = LZ4_compress_default(reinterpret_cast<const char*>(page.data()), packed,
                                              static_cast<int>(kPageBytes), LZ4_COMPRESSBOUND(kPageBytes));
        data.resize(at + static_cast<size_t>(size));
        // Broken inside lz4's own format, where the decoder has to stop it.
        if ((shape & 0x38) == 0x38) data[at + input.word() % static_cast<size_t>(size)] = input.byte();
        entry.data_bytes = static_cast<uint32_t>(size);
        if (entry.encoding == PageEncoding::kDelta) {
          xor_page(page.data(), page.data(), committed_[entry.first_page % kPages].data());
          digest = crc32c(digest, page);
        }
      }
    }
    write_entry(payload.data() + kPagesHeadBytes + i * kPagesEntryBytes, entry);
    if ((shape & 0x1c) == 0x1c) {
      payload[kPagesHeadBytes + i * kPagesEntryBytes + input.byte() % kPagesEntryBytes] = input.byte();
    }
    epoch_pages_ += entry.page_count;
    if (entry.encoding == PageEncoding::kZero) page.fill(0);
    for (uint64_t at = entry.first_page; at < std::min(entry.first_page + entry.page_count, kPages); at++) {
      (epoch_ == 0 ? committed_ : next_)[at] = page;
    }
  }

  void section(RecordType type, Input& input) {
    const auto bytes = input.take_bytes(input.byte());
    record(static_cast<uint16_t>(type), epoch_, bytes, input);
  }

  void device(Input& input) {
    const uint8_t count = input.byte() % 5;
    std::vector<uint8_t> payload(kDeviceHeadBytes + count * kDevicePartBytes);
    std::vector<uint8_t> data;
    store_wire<uint32_t>(payload.data(), input.byte() < 0xf0 ? input.byte() % kDevices : input.byte());
    store_wire<uint32_t>(payload.data() + 4, count);
    for (uint8_t i = 0; i < count; i++) {
      add_part(payload.data() + kDeviceHeadBytes + i * kDevicePartBytes, data, input);
    }
    payload.insert(payload.end(), data.begin(), data.end());
    if (input.byte() == 0xff) payload.resize(payload.size() - std::min<size_t>(payload.size(), input.byte()));
    record(static_cast<uint16_t>(RecordType::kDevice), epoch_, payload, input);
  }

  void add_part(uint8_t* at, std::vector<uint8_t>& data, Input& input) {
    const uint8_t shape = input.byte();
    DevicePart part{.address = 0, .length = input.byte(), .kind = DevicePartKind::kBytes};
    if ((shape & 1) != 0) {
      // In memory, most of the time.
      part.kind = DevicePartKind::kPlace;
      part.address = input.word() % (kPages * kPageBytes);
      part.length = 1 + input.word() % ((shape & 2) != 0 ? 3 * kPageBytes : 64);
      if ((shape & 0xf0) == 0xf0) part.address = input.take<uint64_t>();
    } else {
      const auto bytes = input.take_bytes(part.length);
      part.length = static_cast<uint32_t>(bytes.size());
      data.insert(data.end(), bytes.begin(), bytes.end());
    }
    write_part(at, part);
    if ((shape & 0x1c) == 0x1c) at[input.byte() % kDevicePartBytes] = input.byte();
  }

  void commit(Input& input) {
    std::array<uint8_t, kCommitBytes> payload{};
    store_wire<uint64_t>(payload.data(), epoch_pages_);
    store_wire<uint32_t>(payload.data() + 8, digest_);
    if (input.byte() == 0xff) payload[input.byte() % payload.size()] ^= 1;
    record(static_cast<uint16_t>(RecordType::kCommit), epoch_, payload, input);
    committed_ = next_;
  }

  void word(Input& input) {
    std::vector<uint8_t> payload(kWordHeadBytes);
    store_wire<uint16_t>(payload.data(), input.byte() % 9);
    const auto text = input.take_bytes(input.byte());
    payload.insert(payload.end(), text.begin(), text.end());
    record(static_cast<uint16_t>(RecordType::kWord), 0, payload, input);
  }

  void any(Input& input, uint8_t operation) {
    const auto type = static_cast<uint16_t>(operation >= 128 ? kOptionalRecord | input.word() : input.word());
    const auto bytes = input.take_bytes(input.byte());
    record(type, (operation & 16) != 0 ? input.take<uint64_t>() : epoch_, bytes, input);
  }

  std::vector<uint8_t> stream_;
  size_t records_ = 0;
  uint64_t number_ = 1;
  uint64_t epoch_ = 0;
  uint64_t epoch_pages_ = 0;
  uint32_t digest_ = 0;
  // What the standby has, as a primary knows it: the base of deltas.
  using Memory = std::array<std::array<uint8_t, kPageBytes>, kPages>;
  Memory committed_{};
  Memory next_{};
};

class Standby {
 public:
  Standby() : fd_(memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING)), ram_((size(fd_.get()), fd_.get())) {}

  void reset() {
    for (uint64_t page = 0; page < kPages; page++) ram_.copy(page, 1, kNothing.data());
  }
  RamImage& ram() noexcept { return ram_; }
  uint32_t digest() { return crc32c(0, {ram_.page(0), kPages * kPageBytes}); }

 private:
  static constexpr std::array<uint8_t, kPageBytes> kNothing{};
  static void size(int fd) { KEMARI_ASSERT(ftruncate(fd, kPages * kPageBytes) == 0); }

  UniqueFd fd_;
  RamFileImage ram_;
};

// The parts of an epoch's devices as they came, and what they are once the epoch is applied.
class Devices {
 public:
  void take(const Record& record) {
    const auto type = static_cast<RecordType>(record.header.type);
    if (type == RecordType::kBegin) parts_.clear();
    if (type != RecordType::kDevice) return;
    const uint8_t* const payload = record.payload.data();
    const auto count = load_wire<uint32_t>(payload + 4);
    const uint8_t* data = payload + kDeviceHeadBytes + count * kDevicePartBytes;
    for (uint32_t i = 0; i < count; i++) {
      const DevicePart part = read_part(payload + kDeviceHeadBytes + i * kDevicePartBytes);
      parts_.push_back({load_wire<uint32_t>(payload), part, {}});
      if (part.kind != DevicePartKind::kBytes) continue;
      parts_.back().bytes.assign(data, data + part.length);
      data += part.length;
    }
  }

  std::vector<std::vector<uint8_t>> with(RamImage& ram) const {
    std::vector<std::vector<uint8_t>> devices(kDevices);
    for (const Part& part : parts_) {
      const bool is_place = part.wire.kind == DevicePartKind::kPlace;
      const uint8_t* const bytes = is_place ? ram.page(0) + part.wire.address : part.bytes.data();
      devices[part.device].insert(devices[part.device].end(), bytes, bytes + part.wire.length);
    }
    return devices;
  }

 private:
  struct Part {
    uint32_t device;
    DevicePart wire;
    std::vector<uint8_t> bytes;
  };
  std::vector<Part> parts_;
};

void read_stream(Connection& connection, Standby& standby, EpochStaging& staging, uint32_t& memory) {
  Devices devices;
  RecordReader reader(connection, [&staging](const RecordHeader& header) { return staging.payload_room(header); });
  while (const std::optional<Record> record = reader.next()) {
    KEMARI_ASSERT(record->payload.size() == record->header.length);
    if (record->header.type == static_cast<uint16_t>(RecordType::kWord)) {
      const WordMessage message = read_word(record->payload, true);
      KEMARI_ASSERT(is_primary_word(message.word) && message.text.size() <= kMaxWordTextBytes);
      continue;
    }
    const uint64_t before = staging.committed().epoch;
    const std::optional<CommittedEpoch> committed = staging.accept(record->header, record->payload);
    KEMARI_ASSERT(staging.staged_bytes() <= kStagingBytes);
    KEMARI_ASSERT(staging.committed().epoch == before + (committed ? 1 : 0));
    devices.take(*record);
    if (committed) {
      KEMARI_ASSERT(standby.digest() == memory);
      staging.apply();
      KEMARI_ASSERT(staging.committed().devices == devices.with(standby.ram()));
    } else if (record->header.epoch != 0) {
      continue;
    } else {
      KEMARI_ASSERT(before == 0);
    }
    memory = standby.digest();
  }
}

void run(Input input) {
  static Standby standby;  // making one takes longer than a run
  standby.reset();
  Peer peer;
  const bool is_raw = input.byte() == 0xff;  // octets of no sender of ours
  std::vector<uint8_t> raw;
  if (is_raw) {
    const auto bytes = input.take_bytes(kMaxStreamBytes);
    raw.assign(bytes.begin(), bytes.end());
  } else {
    while (!input.empty() && !peer.is_full()) peer.next(input);
  }
  const std::span<const uint8_t> stream = is_raw ? std::span<const uint8_t>(raw) : peer.stream();
  int sockets[2];
  KEMARI_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  const UniqueFd theirs(sockets[1]);
  Connection connection(UniqueFd(sockets[0]), std::nullopt, false);
  if (!stream.empty()) {
    const ssize_t sent = send(theirs.get(), stream.data(), stream.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    KEMARI_ASSERT(sent == static_cast<ssize_t>(stream.size()));
  }
  shutdown(theirs.get(), SHUT_WR);
  EpochStaging staging(standby.ram(), {.staging_bytes = kStagingBytes, .device_count = kDevices});
  uint32_t memory = standby.digest();
  try {
    read_stream(connection, standby, staging, memory);
    KEMARI_ASSERT(false);  // nobody stopped it: it ends with its connection
  } catch (const Error& error) {
    KEMARI_ASSERT(error.code().starts_with("KEMARI_LINK_") && error.code() != "KEMARI_LINK_SOCKET");
  }
  // A record of pages that were sent ahead may have got half way; nothing runs from that memory.
  if (staging.committed().epoch > 0 || staging.is_in_epoch()) KEMARI_ASSERT(standby.digest() == memory);
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
