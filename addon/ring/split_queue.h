// The device side of one virtio 1.2 split virtqueue (section 2.7). The guest is hostile: descriptors are copied, then
// checked, then used, and never read twice.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "memory/guest_memory.h"

namespace kemari {

// A piece of a descriptor chain, translated. `hva` stays valid while the device's memory table does.
struct Segment {
  uint8_t* hva;
  uint32_t length;  // bytes, never 0
};

// A descriptor chain as popped: what the device may read, then what it may write.
struct Chain {
  uint16_t head = 0;
  std::vector<Segment> readable;
  std::vector<Segment> writable;

  uint64_t readable_bytes() const noexcept;
  uint64_t writable_bytes() const noexcept;
};

// Where the front-end put the queue. Addresses are the front-end's.
struct QueueAddresses {
  uint64_t descriptor;
  uint64_t available;
  uint64_t used;

  bool operator==(const QueueAddresses&) const = default;
};

enum class PopResult : uint8_t { kChain = 1, kEmpty = 2, kBroken = 3 };

class SplitQueue {
 public:
  static constexpr uint16_t kMaxSize = 1024;               // largest queue we offer; power of two
  static constexpr uint32_t kMaxChainSegments = 1024 + 2;  // longer chains break the queue
  static constexpr uint64_t kMaxChainBytes = 64ull << 20;  // more in one chain breaks the queue

  explicit SplitQueue(const GuestMemory& memory) : memory_(memory) {}

  // Throws KEMARI_VHOST_USER_RING unless `size` is a power of two in [1, kMaxSize].
  static void check_size(uint32_t size);
  void set_size(uint32_t size);  // checks it
  // Translates and keeps the addresses; throws KEMARI_VHOST_USER_RING when a part lies outside guest memory or is not
  // aligned as section 2.7 demands. Called again after the memory table changed.
  void set_addresses(const QueueAddresses& addresses);
  void set_features(bool indirect, bool event_idx) noexcept;
  // Start position: next entry of the avail ring to pop. The used index is read from guest memory.
  void set_base(uint16_t last_avail_index);
  // Throws KEMARI_VHOST_USER_RING when size or addresses are missing.
  void start();
  // Forgets the translation; returns last_avail_index, for GET_VRING_BASE. What was pushed must have been published.
  uint16_t stop() noexcept;
  bool started() const noexcept { return started_; }

  // Takes the next chain. kBroken: the guest broke the rules; `fault()` says which, and the queue pops nothing more
  // until it is started again.
  PopResult pop(Chain& chain);
  // Reads the chain that starts at `head` without taking it from the avail ring: a request of a former life of the
  // queue.
  PopResult take(uint16_t head, Chain& chain);
  // Puts back the last `count` popped chains (nothing was done with them).
  void unpop(uint16_t count) noexcept;
  // Writes one used entry; visible to the guest after publish(). Marks the ring's page dirty. `written` in bytes.
  void push_used(uint16_t head, uint32_t written) noexcept;
  // Makes pushed entries visible (release order). True when the driver wants a call.
  bool publish() noexcept;

  // Whether the next chain shall be told by a kick. The driver hears of the wish in arm_kicks(), so that it need not
  // kick a thread that looks by itself. After wishing, check empty() again: a chain may have come before.
  void set_kicks_wanted(bool wanted) noexcept;
  // Kicks are wished and there is a chain.
  bool offered() const noexcept { return kicks_wanted_ && !empty(); }
  // Before sleeping: tells the driver the wish. True when a chain came before it was told, for which there is no kick.
  bool arm_kicks() noexcept;
  bool empty() const noexcept;

  // From here on every pop() yields kBroken, until start(). Returns kBroken.
  PopResult break_queue(std::string why);

  uint16_t size() const noexcept { return size_; }
  uint16_t last_available_index() const noexcept { return last_avail_; }
  uint16_t used_index() const noexcept { return used_; }
  // What the guest sees; set_addresses() must have been called.
  uint16_t used_index_in_memory() const noexcept;
  const std::string& fault() const noexcept { return fault_; }

 private:
  PopResult read_chain(uint16_t head, Chain& chain);
  void tell_kicks(uint16_t flags) noexcept;
  bool append(uint64_t gpa, uint32_t length, bool writable, Chain& chain);
  const GuestMemory& memory_;
  uint16_t size_ = 0;
  bool started_ = false;
  bool indirect_ = false;
  bool event_idx_ = false;
  bool kicks_wanted_ = false;
  uint16_t last_avail_ = 0;
  uint16_t used_ = 0;            // next used entry to write
  uint16_t published_ = 0;       // used index the guest sees
  uint16_t signalled_used_ = 0;  // used index at the last call, for EVENT_IDX
  uint8_t* descriptors_ = nullptr;
  uint8_t* available_ = nullptr;
  uint8_t* used_ring_ = nullptr;
  std::string fault_;
};

}  // namespace kemari
