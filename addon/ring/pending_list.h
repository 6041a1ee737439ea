// The requests of one queue that were popped and not completed, in the order in which they were popped. Adding and
// removing take constant time: the links stand in a table by head.
#pragma once

#include <cstdint>
#include <vector>

#include "error.h"
#include "ring/request_queue.h"

namespace kemari {

class PendingList {
 public:
  struct Entry {
    std::vector<Segment> writable;  // of its chain: pages to mark when it completes
    bool resubmitted = false;       // came from a former life of the queue, not from the avail ring
    bool kept = false;              // completed while the queue was suspended
    bool present = false;
    uint16_t previous = kNone;
    uint16_t next = kNone;
  };
  static constexpr uint16_t kNone = UINT16_MAX;  // no queue has a head this large

  // Makes room for heads below `queue_size`. The list must be empty.
  void set_size(uint16_t queue_size) {
    KEMARI_ASSERT(count_ == 0);
    entries_.resize(queue_size);
  }

  bool contains(uint16_t head) const noexcept { return head < entries_.size() && entries_[head].present; }
  uint32_t count() const noexcept { return count_; }
  uint16_t oldest() const noexcept { return oldest_; }
  uint16_t newest() const noexcept { return newest_; }
  uint16_t after(uint16_t head) const noexcept { return entries_[head].next; }
  Entry& operator[](uint16_t head) noexcept { return entries_[head]; }
  const Entry& operator[](uint16_t head) const noexcept { return entries_[head]; }

  void add(uint16_t head, const std::vector<Segment>& writable, bool resubmitted) {
    Entry& entry = entries_[head];
    KEMARI_ASSERT(!entry.present);
    entry.writable.assign(writable.begin(), writable.end());
    entry.resubmitted = resubmitted;
    entry.kept = false;
    entry.present = true;
    entry.previous = newest_;
    entry.next = kNone;
    (newest_ == kNone ? oldest_ : entries_[newest_].next) = head;
    newest_ = head;
    count_++;
  }

  void remove(uint16_t head) noexcept {
    KEMARI_ASSERT(contains(head));
    Entry& entry = entries_[head];
    (entry.previous == kNone ? oldest_ : entries_[entry.previous].next) = entry.next;
    (entry.next == kNone ? newest_ : entries_[entry.next].previous) = entry.previous;
    entry.present = false;
    count_--;
  }

 private:
  std::vector<Entry> entries_;  // by head
  uint16_t oldest_ = kNone;
  uint16_t newest_ = kNone;
  uint32_t count_ = 0;
};

}  // namespace kemari
