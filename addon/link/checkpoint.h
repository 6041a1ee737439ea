// What a capture hands to the link: one epoch's state, in memory that is recycled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "memory/dirty_bitmap.h"
#include "memory/traced_bytes.h"

namespace kemari {

// Contents of pages, one after the other, in one piece of memory that never moves while it grows. Address space is
// reserved for all that could ever come; memory is taken as it grows and partly kept by clear(), so that a capture in
// the paused window does not wait for page faults.
class PageBytes {
 public:
  static constexpr uint64_t kKeptBytes = 16 << 20;  // what clear() leaves resident

  // Throws KEMARI_LINK_MEMORY when there is no address space.
  explicit PageBytes(uint64_t capacity_pages);
  ~PageBytes();
  PageBytes(const PageBytes&) = delete;
  PageBytes& operator=(const PageBytes&) = delete;

  // Room for `count` more pages after those that are there; the caller fills it. Earlier pointers stay valid. Asserts
  // the capacity. Throws KEMARI_LINK_MEMORY when the host has no memory; what was there stays.
  uint8_t* append(uint64_t count);
  void clear() noexcept;

  uint8_t* data() const noexcept { return data_; }
  uint64_t page_count() const noexcept { return page_count_; }
  uint64_t capacity_pages() const noexcept { return capacity_pages_; }

 private:
  uint8_t* data_;
  uint64_t capacity_pages_;
  uint64_t usable_pages_ = 0;    // [0, usable_pages_) may be touched
  uint64_t resident_pages_ = 0;  // [0, resident_pages_) were
  uint64_t page_count_ = 0;
};

struct Checkpoint {
  explicit Checkpoint(uint64_t capacity_pages) : pages(capacity_pages) {}

  // 0: pages sent ahead, applied as they arrive; only ranges and pages mean something then. Else the epoch, +1 each.
  uint64_t epoch = 0;
  // Pages of the RAM file, disjoint, in any order; ascending neighbours travel cheapest.
  std::vector<PageRange> ranges;
  // Contents in the order of `ranges`.
  PageBytes pages;
  std::vector<uint8_t> machine_state;
  // Each device's cut, disks first, then NICs, in the order of the domain's configuration.
  std::vector<TracedBytes> devices;
  // Console bytes that the cut holds.
  std::vector<uint8_t> console;
  // The guest's operator has paused it: whoever takes it over leaves it standing.
  bool guest_paused = false;

  uint64_t byte_count() const noexcept;
  // Empty again, buffers kept.
  void clear() noexcept;
};

// Where checkpoints go. All methods may be called from any thread.
class CheckpointSink {
 public:
  virtual ~CheckpointSink() = default;

  // An empty checkpoint, its buffers recycled. Throws KEMARI_LINK_MEMORY.
  virtual std::unique_ptr<Checkpoint> take() = 0;
  // Queues it behind all that was submitted. Never blocks. Epochs above 0 come in order, without a gap (asserted). Once
  // the link is lost or closed it is dropped: the owner hears of the loss by the link's own event.
  virtual void submit(std::unique_ptr<Checkpoint> checkpoint) = 0;
  // Gives back what take() gave and was not submitted.
  virtual void recycle(std::unique_ptr<Checkpoint> checkpoint) = 0;
  // Blocks while more than kMaxQueuedBytes are queued. False, at once: the link is lost or closed.
  virtual bool wait_for_room() = 0;
  // Of all that was submitted and is not handed to the socket yet.
  virtual uint64_t queued_bytes() const = 0;

  static constexpr uint64_t kMaxQueuedBytes = 32 << 20;
};

}  // namespace kemari
