// The one place through which everything that leaves a guest passes. Ring threads bring requests, in order; whoever
// protects the domain closes the gate, freezes what is held at a cut, and releases it after the standby's ack.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <functional>
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

// One request on its way out. Owned by the ring that popped it, which keeps it alive until it was passed or released.
struct Outbound {
  OutboundKind kind;
  uint64_t sequence = 0;        // domain-wide order, from 1; given by admit()
  std::vector<iovec> bytes;     // what leaves; points into guest memory until frozen
  std::vector<uint8_t> frozen;  // the bytes of the cut, once freeze() has copied them; `bytes` then points here
  bool is_frozen = false;
};

class OutputGate;

// The part of the gate that belongs to one ring thread. All calls are made under the device's lock, so a parked thread's
// lane can be read and frozen by whoever holds that lock.
class GateLane {
 public:
  // `wake` makes the ring thread call drain(); it is called from other threads, never under a lock of the gate.
  GateLane(OutputGate& gate, std::function<void()> wake);
  ~GateLane();
  GateLane(const GateLane&) = delete;
  GateLane& operator=(const GateLane&) = delete;

  // True: let it out now. False: it is held; drain() hands it back once it may leave. Never passes anything that came
  // before something held (FIFO within a lane).
  bool admit(Outbound& request);

  // The oldest held request that may leave now, removed from the lane, or nullptr.
  Outbound* next_released();

  // At a cut: copies the bytes of every held request that is not frozen yet. Their bytes are those of the cut from now on.
  void freeze();

  // Forgets held requests (device reset: the guest took them back). They never leave.
  void drop(Outbound& request);

  std::span<Outbound* const> held() const noexcept;
  
 private:
  friend class OutputGate;
  OutputGate& gate_;
  std::function<void()> wake_;
  std::vector<Outbound*> held_;
};


// One a domain. Open: every request passes. Closed: every request is held until release() names its sequence.
class OutputGate {
 public:
  struct Counters {
    uint64_t passed;
    uint64_t held;      // ever held
    uint64_t released;  // held and let out since
  };

  void close();  // from here on requests are held
  void open();   // releases everything and lets what follows pass
  bool is_open() const noexcept;

  // Everything with sequence <= through may leave. Never goes backwards (asserted).
  void release(uint64_t through_sequence);
  // The newest sequence given out so far; what a cut covers.
  uint64_t last_sequence() const noexcept;
  Counters counters() const noexcept;
};

}  // namespace kemari
