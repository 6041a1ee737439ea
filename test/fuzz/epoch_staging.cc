// Fuzz target: what a standby does with a primary's records, from the octets to guest memory. Whatever comes, memory
// changes only by pages that are sent ahead and by whole epochs, and what was committed stays.
#include "link/epoch_staging.h"

#include <lz4.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "error.h"
#include "input.h"
#include "link/crc32c.h"
#include "link/record.h"
#include "link/wire_bytes.h"
#include "memory/page_bytes.h"

namespace kemari::fuzz {
namespace {

constexpr uint64_t kPages = 8;
constexpr uint32_t kDevices = 2;
constexpr uint64_t kStagingBytes = 12 * kPageBytes;

class Standby {
 public:
  Standby() : fd_(memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING)), ram_((size(fd_.get()), fd_.get())) {}

  // As it was at the start.
  void reset() {
    for (uint64_t page = 0; page < kPages; page++) ram_.copy(page, 1, kNothing.data());
  }
  RamImage& ram() noexcept { return ram_; }
  std::vector<uint8_t> memory() { return {ram_.page(0), ram_.page(0) + kPages * kPageBytes}; }

 private:
  static constexpr std::array<uint8_t, kPageBytes> kNothing{};

  static void size(int fd) { KEMARI_ASSERT(ftruncate(fd, kPages * kPageBytes) == 0); }

  UniqueFd fd_;
  RamFileImage ram_;
};

// A record as the fuzzer wants it, with the number and the checksum that it needs to get past the first checks.
struct Attempt {
  std::array<uint8_t, kRecordHeaderBytes> header;
  std::vector<uint8_t> payload;
};

Attempt next_attempt(Input& input, uint64_t number, uint64_t likely_epoch) {
  Attempt attempt;
  const auto type = static_cast<uint16_t>(input.take<uint8_t>() % 12);
  const auto shape = input.take<uint8_t>();
  const uint64_t epoch = (shape & 3) == 0 ? 0 : (shape & 3) == 1 ? input.take<uint64_t>() : likely_epoch;
  const size_t length = input.take<uint16_t>() % (2 * kPageBytes + 64);
  attempt.payload.resize(length);
  const std::span<const uint8_t> bytes = input.take_bytes(length);
  std::copy(bytes.begin(), bytes.end(), attempt.payload.begin());
  write_header(attempt.header.data(), type, epoch, number, {{attempt.payload}});
  return attempt;
}

// Writes the digest of the pages that travel as deltas, as a primary would that has the same memory.
void give_digest(std::vector<uint8_t>& payload, RamImage& ram) {
  if (payload.size() < kPagesHeadBytes) return;
  const auto count = load_wire<uint32_t>(payload.data());
  if (count > (payload.size() - kPagesHeadBytes) / kPagesEntryBytes) return;
  size_t data_at = kPagesHeadBytes + count * kPagesEntryBytes;
  uint32_t digest = 0;
  for (uint32_t i = 0; i < count; i++) {
    const PagesEntry entry = read_entry(payload.data() + kPagesHeadBytes + i * kPagesEntryBytes);
    if (entry.data_bytes > payload.size() - data_at || entry.first_page >= kPages) return;
    std::array<uint8_t, kPageBytes> page;
    const auto* packed = reinterpret_cast<const char*>(payload.data() + data_at);
    data_at += entry.data_bytes;
    if (entry.encoding != PageEncoding::kDelta) continue;
    if (LZ4_decompress_safe(packed, reinterpret_cast<char*>(page.data()), static_cast<int>(entry.data_bytes),
                            static_cast<int>(kPageBytes)) != static_cast<int>(kPageBytes)) {
      return;
    }
    xor_page(page.data(), page.data(), ram.page(entry.first_page));
    digest = crc32c(digest, page);
  }
  store_wire(payload.data() + 4, digest);
}

void run(Input input) {
  static Standby standby;  // making one takes longer than a run
  standby.reset();
  EpochStaging staging(standby.ram(), {.staging_bytes = kStagingBytes, .device_count = kDevices});
  std::vector<uint8_t> before = standby.memory();
  uint32_t digest = 0;
  uint64_t epoch_pages = 0;
  uint64_t number = 1;
  try {
    for (; !input.empty(); number++) {
      const uint64_t epoch = staging.committed().epoch + 1;
      Attempt attempt = next_attempt(input, number, epoch);
      const RecordHeader header = read_header(attempt.header, number);
      if (!is_known(header.type)) continue;
      const auto type = static_cast<RecordType>(header.type);
      if (type == RecordType::kBegin) {
        digest = 0;
        epoch_pages = staging.pages_accepted();
      }
      if (type == RecordType::kCommit && header.length == kCommitBytes) {
        // Nobody guesses a digest: it is given.
        store_wire<uint64_t>(attempt.payload.data(), staging.pages_accepted() - epoch_pages);
        store_wire<uint32_t>(attempt.payload.data() + 8, digest);
      }
      if (type == RecordType::kPages && input.take<uint8_t>() % 8 != 0) {
        give_digest(attempt.payload, standby.ram());
      }
      KEMARI_ASSERT(crc32c(digest, attempt.payload) == crc32c_portable(digest, attempt.payload));
      const std::span<uint8_t> room = staging.payload_room(header);
      KEMARI_ASSERT(room.size() == header.length);
      std::copy(attempt.payload.begin(), attempt.payload.end(), room.begin());
      if (type == RecordType::kWord) {
        KEMARI_ASSERT(is_primary_word(read_word(room, true).word));
        continue;
      }
      const std::optional<CommittedEpoch> committed = staging.accept(header, room);
      std::array<uint8_t, sizeof(uint32_t)> checksum;
      store_wire(checksum.data(), header.checksum);
      digest = crc32c(digest, checksum);
      KEMARI_ASSERT(staging.staged_bytes() <= kStagingBytes);
      if (committed) {
        KEMARI_ASSERT(committed->epoch == epoch && staging.committed().epoch == epoch);
        KEMARI_ASSERT(standby.memory() == before);
        staging.apply();
        before = standby.memory();
      } else if (header.epoch == 0) {
        KEMARI_ASSERT(staging.committed().epoch == 0);
        before = standby.memory();
      }
      KEMARI_ASSERT(staging.committed().devices.size() == kDevices);
    }
  } catch (const Error& error) {
    KEMARI_ASSERT(error.code().starts_with("KEMARI_LINK_"));
    // A record of pages that were sent ahead may have got half way; nothing runs from that memory.
    if (staging.committed().epoch > 0 || staging.is_in_epoch()) KEMARI_ASSERT(standby.memory() == before);
  }
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
