// Evidence, for drills: a process that is told so notes each frame that its guest sends, each change of a disk, each
// cut, each ack and each time its gate closes or opens, before anything comes of it. Whoever looks at the networks from
// outside can then say of each frame and each change that it saw whether it was let out in its time. src/base/README.md
// has the form of a line.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace kemari {

// Of the file that evidence goes to; -1: none is kept. Written by keep_evidence() only.
extern std::atomic<int> evidence_file;

// Once a process. Errors: KEMARI_EVIDENCE_FILE.
void keep_evidence(const std::string& path);

inline bool evidence_kept() noexcept {
  return evidence_file.load(std::memory_order_relaxed) >= 0;
}

enum class GateEvent : uint8_t { kClosed = 1, kOpened = 2 };

// The gate closed, and no sequence above `last` passed it before; or it is about to open.
void note_gate(GateEvent event, uint64_t last);

// The gate let a frame pass, or holds it. The first `skipped` bytes of `pieces` are no part of the frame.
void note_frame(bool passed, uint64_t sequence, std::span<const iovec> pieces, size_t skipped);

// What a disk's request does to storage: a letter of the note.
enum class DiskChange : char { kWrite = 'w', kFlush = 'f', kDiscard = 'd', kZero = 'z' };

// The gate let a disk's request pass, or holds it. Bytes; a flush has neither. One with several ranges is noted for
// each.
void note_disk(bool passed, uint64_t sequence, DiskChange change, uint64_t offset, uint64_t length);

// An epoch covers every sequence up to `through`.
void note_cut(uint64_t epoch, uint64_t through);

enum class AckEvent : uint8_t { kSent = 1, kHeard = 2 };

// The standby is about to acknowledge an epoch, or the primary has heard of it.
void note_ack(AckEvent event, uint64_t epoch);

}  // namespace kemari
