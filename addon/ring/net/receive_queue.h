// One receive queue: frames from the tap, read straight into the guest's buffers. Buffers are taken ahead, since a
// frame's size is known only once it was read; what does not fit lands behind them in memory of ours and waits there
// for more.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ring/net/net_header.h"
#include "ring/request_queue.h"

namespace kemari {

class Nic;

// Used on the ring thread under the device's lock only.
class ReceiveQueue {
 public:
  // Frames and bytes between two publications, which bound how long the first of them waits.
  static constexpr uint32_t kBatchFrames = 32;
  static constexpr uint64_t kBatchBytes = 256 << 10;
  // Batches that one turn may take before others get the lock.
  static constexpr uint32_t kTurnBatches = 4;

  ReceiveQueue(Nic& nic, uint32_t index);

  void start();
  // Gives the gathered buffers back. A frame that waits for buffers stays, and is delivered after the next start.
  void stop();
  // Reads from the tap until it is empty or the guest has no buffers left.
  void run();
  // The driver accepted other features: what waits has the wrong header now.
  void features_changed();
  // Buffers that were taken ahead are translated anew.
  void memory_changed();

 private:
  // Buffers taken and not filled, a ring of chains in the order of the queue.
  class Gathered {
   public:
    Gathered();
    Chain& prepare() noexcept;  // where the next chain is popped to
    void push() noexcept;       // keeps the prepared chain
    void pop_front() noexcept;
    void clear() noexcept;
    const Chain& at(size_t position) const noexcept { return chains_[(first_ + position) % chains_.size()]; }
    size_t count() const noexcept { return count_; }
    uint64_t bytes() const noexcept { return bytes_; }
    size_t segments() const noexcept { return segments_; }

   private:
    std::vector<Chain> chains_;
    size_t first_ = 0;
    size_t count_ = 0;
    uint64_t bytes_ = 0;
    size_t segments_ = 0;
  };
  enum class Outcome : uint8_t { kDelivered = 1, kDropped = 2, kTapEmpty = 3, kNoBuffers = 4, kBroken = 5 };

  bool is_merging() const noexcept;
  // Takes chains until they hold `wanted_bytes`, are in `max_segments` pieces, or the guest has no more. kDelivered:
  // there is at least one.
  Outcome gather(uint64_t wanted_bytes, size_t max_segments);
  Outcome next_frame();
  Outcome read_frame();
  Outcome place_waiting();
  void deliver(size_t total_bytes, const NetHeader& header);
  // Copies into the gathered buffers, from `offset` bytes behind the start of the first.
  void copy_in(size_t offset, const uint8_t* from, size_t length);
  void copy_out(uint8_t* to, size_t length) const;
  // Marks what a read may have written into buffers that the guest is not told about.
  void mark_scribbled() const;
  bool wait_for_buffers();
  void post_turn();
  void put_back();

  Nic& nic_;
  const uint32_t index_;
  bool running_ = false;
  bool posted_ = false;       // another turn is due
  size_t waiting_bytes_ = 0;  // header and frame in spill_, or 0
  Gathered gathered_;
  std::vector<uint8_t> spill_;  // room for one largest frame, and one byte to see a larger one
  std::vector<iovec> vector_;
  NetHeader header_{};
};

}  // namespace kemari
