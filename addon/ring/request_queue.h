// One queue between a guest's driver and its device: requests come out as chains, answers go back. What lies in guest
// memory and how is the implementation's: a virtqueue (SplitQueue), or a ring of Xen's. A device never sees which.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ring/ring_state.h"

namespace kemari {

// A piece of a chain. `hva` stays valid while the request is the device's.
struct Segment {
  uint8_t* hva;
  uint32_t length;  // bytes, never 0
};

// A request as popped: what the device may read, then what it may write.
struct Chain {
  uint16_t head = 0;  // names the request until it is answered; below the queue's size
  std::vector<Segment> readable;
  std::vector<Segment> writable;

  uint64_t readable_bytes() const noexcept;
  uint64_t writable_bytes() const noexcept;
};

// Where the front-end put the queue, in its own terms. Two queues with equal values are at the same place.
struct QueueAddresses {
  uint64_t descriptor;
  uint64_t available;
  uint64_t used;

  bool operator==(const QueueAddresses&) const = default;
};

enum class PopResult : uint8_t { kChain = 1, kEmpty = 2, kBroken = 3 };

// The guest is hostile: what it wrote is copied, then checked, then used, and never read twice.
class RequestQueue {
 public:
  static constexpr uint16_t kMaxSize = 1024;               // of any queue; power of two
  static constexpr uint32_t kMaxChainSegments = 1024 + 2;  // longer chains break the queue
  static constexpr uint64_t kMaxChainBytes = 64ull << 20;  // more in one chain breaks the queue

  virtual ~RequestQueue() = default;

  // --- place ------------------------------------------------------------------------------------------------------
  // `size` is a power of two in [1, kMaxSize], else it throws.
  virtual void set_size(uint32_t size) = 0;
  // Throws where the place is not one. Called again after the memory table changed.
  virtual void set_addresses(const QueueAddresses& addresses) = 0;
  // What the driver accepted; what concerns no ring is ignored.
  virtual void set_accepted(uint64_t features) = 0;
  // Start position: the next request to pop. How many were answered is read from guest memory.
  virtual void set_base(uint16_t last_available_index) = 0;
  // Throws when size or addresses are missing.
  virtual void start() = 0;
  // Lets go of the place; returns last_available_index(). What was pushed must have been published.
  virtual uint16_t stop() noexcept = 0;

  // --- requests -----------------------------------------------------------------------------------------------------
  // Takes the next request. kBroken: the guest broke the rules; `fault()` says which, and the queue pops nothing more
  // until it is started again.
  virtual PopResult pop(Chain& chain) = 0;
  // Reads again the request that is named `head`, one that a former life of the queue popped.
  virtual PopResult take(uint16_t head, Chain& chain) = 0;
  // Puts back the last `count` popped requests (nothing was done with them).
  virtual void unpop(uint16_t count) noexcept = 0;
  // The device has written the first `touched` bytes of what it may write. The guest may see them from here on.
  virtual void landed(uint16_t head, std::span<const Segment> writable, uint64_t touched) noexcept = 0;
  // The same of a request that is not answered with it: the guest took it back, and its memory may be in use for
  // something else, or it is put back.
  virtual void landed_in_vain(uint16_t head, std::span<const Segment> writable, uint64_t touched) noexcept = 0;
  // Answers a request that has landed; visible to the guest after publish(). `written` in bytes.
  virtual void push_used(uint16_t head, uint32_t written) noexcept = 0;
  // Makes answers visible. True when the driver wants a call.
  virtual bool publish() noexcept = 0;
  // From here on every pop() yields kBroken, until start(). Returns kBroken.
  virtual PopResult break_queue(std::string why) = 0;
  virtual const std::string& fault() const noexcept = 0;

  // --- kicks --------------------------------------------------------------------------------------------------------
  // Whether the next request shall be told by a kick. The driver hears of the wish in arm_kicks(), so that it need not
  // kick a thread that looks by itself. After wishing, check empty() again: a request may have come before.
  virtual void set_kicks_wanted(bool wanted) noexcept = 0;
  // Kicks are wished and there is a request.
  virtual bool offered() const noexcept = 0;
  // Before sleeping: tells the driver the wish. True when a request came before it was told, for which there is no
  // kick.
  virtual bool arm_kicks() noexcept = 0;
  virtual bool empty() const noexcept = 0;

  virtual uint16_t size() const noexcept = 0;
  virtual uint16_t last_available_index() const noexcept = 0;
  virtual uint16_t used_index() const noexcept = 0;
  // What the guest sees; set_addresses() must have been called.
  virtual uint16_t used_index_in_memory() const noexcept = 0;

  // --- cuts ---------------------------------------------------------------------------------------------------------
  // What a checkpoint says of a pending request so that adopt() finds it again elsewhere: `cut.writable`, and the
  // driver's name for it. Throws KEMARI_RING_STATE.
  virtual void describe(uint16_t head, std::span<const Segment> writable, CutRequest& cut) const = 0;
  // Puts a pending request of a checkpoint in place, after set_addresses() and before start(); returns what the device
  // may write. The bytes are a peer's: throws KEMARI_RING_STATE.
  virtual std::vector<Segment> adopt(const CutRequest& cut) = 0;
  // The same of an answer that the guest has not been told: its memory is written already.
  virtual void describe_kept(CutQueue::Kept& kept) const = 0;
  virtual void adopt_kept(const CutQueue::Kept& kept) = 0;
};

}  // namespace kemari
