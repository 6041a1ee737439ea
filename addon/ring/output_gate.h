// The one place through which everything that leaves a guest passes. Ring threads bring requests, in order; whoever
// protects the domain closes the gate, freezes what is held at a cut, and releases it after the standby's ack.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace kemari {

enum class OutboundKind : uint8_t {
  kDiskWrite = 1,
  kDiskFlush = 2,
  kDiskDiscard = 3,
  kDiskWriteZeroes = 4,
  kFrame = 5,
  kConsole = 6,
};

// Bytes aligned so that O_DIRECT takes them.
struct FreeBytes {
  void operator()(uint8_t* bytes) const noexcept { std::free(bytes); }
};
using AlignedBytes = std::unique_ptr<uint8_t[], FreeBytes>;

// One request on its way out. Owned by the ring that popped it, which keeps it alive until it was passed, released or
// dropped.
struct Outbound {
  OutboundKind kind;
  uint32_t queue = 0;  // where it was popped: queue index and head; 0 for the console
  uint16_t head = 0;
  uint64_t sequence = 0;     // domain-wide order, from 1; given by admit()
  std::vector<iovec> bytes;  // what leaves; points into guest memory until frozen
  AlignedBytes frozen;       // the bytes of the cut, once freeze() has copied them; `bytes` then is one piece of it
  bool is_frozen = false;
};

class OutputGate;

// The part of the gate that belongs to one ring thread. All calls are made under the device's lock, so a parked
// thread's lane can be read and frozen by whoever holds that lock.
class GateLane {
 public:
  // `wake` makes the ring thread drain the lane with next_released(). It is called from other threads, must not block
  // and must not call the gate; it is never called after the destructor returned.
  GateLane(std::shared_ptr<OutputGate> gate, std::function<void()> wake);
  ~GateLane();
  GateLane(const GateLane&) = delete;
  GateLane& operator=(const GateLane&) = delete;

  // True: let it out now. False: it is held; next_released() hands it back once it may leave. Never passes anything
  // that came before something held (FIFO within a lane).
  bool admit(Outbound& request);

  // The oldest held request that may leave now, removed from the lane, or nullptr. Asserts the law: open, or its
  // sequence was released.
  Outbound* next_released();

  // At a cut: copies the bytes of every held request that is not frozen yet. Their bytes are those of the cut from now
  // on.
  void freeze();

  // Forgets a held request (device reset: the guest took it back). It never leaves.
  void drop(Outbound& request);

  // Oldest first, by sequence.
  std::span<Outbound* const> held() const noexcept;

 private:
  friend class OutputGate;
  std::shared_ptr<OutputGate> gate_;
  std::function<void()> wake_;
  std::vector<Outbound*> held_;
  size_t first_ = 0;  // held_[0, first_) has left already
};

// One a domain. Open: every request passes. Closed: every request is held until release() names its sequence. All
// methods may be called from any thread.
class OutputGate {
 public:
  struct Counters {
    uint64_t passed;    // never held
    uint64_t held;      // ever held
    uint64_t released;  // held and let out since
  };

  void close();  // what is admitted from here on is held
  void open();   // releases everything and lets what follows pass
  bool is_open() const noexcept { return open_.load(); }

  // Everything with sequence <= through may leave. Never goes backwards and never past last_sequence() (asserted).
  void release(uint64_t through_sequence);
  // The newest sequence given out so far; what a cut covers.
  uint64_t last_sequence() const noexcept { return last_.load(); }
  Counters counters() const noexcept;

 private:
  friend class GateLane;
  bool may_leave(uint64_t sequence) const noexcept;
  void wake_lanes();

  std::atomic<bool> open_{true};
  std::atomic<uint64_t> last_{0};
  std::atomic<uint64_t> released_through_{0};
  std::atomic<uint64_t> passed_{0};
  std::atomic<uint64_t> held_{0};
  std::atomic<uint64_t> released_{0};
  std::mutex lanes_mutex_;
  std::vector<GateLane*> lanes_;
};

}  // namespace kemari
