#include "evidence/evidence.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>

#include "error.h"

namespace kemari {

std::atomic<int> evidence_file{-1};

namespace {

// Enough of a frame to tell it from any other: its headers, with the numbers of IP and TCP.
constexpr size_t kNotedBytes = 64;
constexpr size_t kLineBytes = 64 + 2 * kNotedBytes;
constexpr int64_t kNsPerS = 1'000'000'000;

int64_t realtime_ns() noexcept {
  timespec now;
  KEMARI_ASSERT(::clock_gettime(CLOCK_REALTIME, &now) == 0);
  return int64_t{now.tv_sec} * kNsPerS + now.tv_nsec;
}

// One line, one write: threads do not mix theirs, and what was written outlives the process. A line that is lost would
// make the evidence lie.
void write_line(const char* line, int bytes) {
  KEMARI_ASSERT(bytes > 0 && static_cast<size_t>(bytes) < kLineBytes);
  KEMARI_ASSERT(::write(evidence_file.load(std::memory_order_relaxed), line, static_cast<size_t>(bytes)) == bytes);
}

void write_numbers(const char* what, uint64_t number, uint64_t more) {
  std::array<char, kLineBytes> line;
  write_line(line.data(), snprintf(line.data(), line.size(), "%" PRId64 " %s %" PRIu64 " %" PRIu64 "\n", realtime_ns(),
                                   what, number, more));
}

}  // namespace

void keep_evidence(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) fail_errno("KEMARI_EVIDENCE_FILE", "open", "cannot keep evidence in " + path);
  evidence_file.store(fd);
}

void note_gate(GateEvent event, uint64_t last) {
  if (evidence_kept()) write_numbers(event == GateEvent::kClosed ? "closed" : "opened", last, 0);
}

void note_cut(uint64_t epoch, uint64_t through) {
  if (evidence_kept()) write_numbers("cut", epoch, through);
}

void note_ack(AckEvent event, uint64_t epoch) {
  if (evidence_kept()) write_numbers(event == AckEvent::kSent ? "ack-sent" : "ack-heard", epoch, 0);
}

void note_disk(bool passed, uint64_t sequence, DiskChange change, uint64_t offset, uint64_t length) {
  if (!evidence_kept()) return;
  std::array<char, kLineBytes> line;
  write_line(line.data(),
             snprintf(line.data(), line.size(), "%" PRId64 " disk-%s %" PRIu64 " %c:%" PRIu64 ":%" PRIu64 "\n",
                      realtime_ns(), passed ? "passed" : "held", sequence, static_cast<char>(change), offset, length));
}

void note_frame(bool passed, uint64_t sequence, std::span<const iovec> pieces, size_t skipped) {
  if (!evidence_kept()) return;
  std::array<char, kLineBytes> line;
  int at = snprintf(line.data(), line.size(), "%" PRId64 " %s %" PRIu64 " ", realtime_ns(), passed ? "passed" : "held",
                    sequence);
  size_t room = kNotedBytes;
  for (const iovec& piece : pieces) {
    const size_t skip = std::min(skipped, piece.iov_len);
    skipped -= skip;
    const size_t count = std::min(room, piece.iov_len - skip);
    // SAFETY: what the iovec names, which may be guest memory: it is only read, and what is read is only noted.
    const auto* bytes = static_cast<const uint8_t*>(piece.iov_base) + skip;
    for (size_t i = 0; i < count; i++) at += snprintf(line.data() + at, 3, "%02x", bytes[i]);
    room -= count;
  }
  line[static_cast<size_t>(at++)] = '\n';
  write_line(line.data(), at);
}

}  // namespace kemari
