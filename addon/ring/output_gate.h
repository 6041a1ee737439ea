// The one place through which everything that leaves a guest passes. Ring threads bring requests, in order; whoever
// protects the domain closes the gate, freezes what is held at a cut, and releases it after the standby's ack.
#pragma once

#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "memory/traced_bytes.h"

namespace kemari {

class GuestMemory;

enum class OutboundKind : uint8_t {
  kDiskWrite = 1,
  kDiskFlush = 2,
  kDiskDiscard = 3,
  kDiskWriteZeroes = 4,
  kFrame = 5,
  kConsole = 6,
};

// One request on its way out. Owned by the ring that popped it, which keeps it alive until it was passed, released or
// dropped.
struct Outbound {
  OutboundKind kind;
  uint32_t queue = 0;  // where it was popped: queue index and head; 0 for the console
  uint16_t head = 0;
  uint64_t sequence = 0;     // domain-wide order, from 1; given by admit()
  std::vector<iovec> bytes;  // what leaves; points into guest memory until frozen
  // The bytes that leave, once freeze_bytes() has copied them, aligned so that O_DIRECT takes them. A checkpoint may
  // have them, too, and longer. A held request's `bytes` then are one piece of them.
  std::shared_ptr<uint8_t[]> frozen;
  size_t frozen_bytes = 0;
  std::vector<iovec> copied_from;  // what was frozen, as it lay before; not to be read, it is the guest's again
  bool is_frozen = false;
  bool is_held = false;        // by its lane
  bool is_answered = false;    // the guest has it back already: the device has a copy of its own
  uint64_t counted_bytes = 0;  // the lane's own: what this request adds to outstanding_bytes()
};

// Copies what `pieces` hold into memory of ours, which are the bytes of `request` from then on. `request.bytes` stays
// as it is.
void freeze_bytes(Outbound& request, std::span<const iovec> pieces);

// The bytes of a frozen request, to be kept beyond it; `memory`: the guest's, that they were copied from.
SharedBytes frozen_of(const Outbound& request, const GuestMemory& memory);

class OutputGate;

// The part of the gate that belongs to one ring thread. All calls are made under the device's lock, so a parked
// thread's lane can be read and frozen by whoever holds that lock.
class GateLane {
 public:
  // What a lane's device may have in its hands, held or on its way out, before it takes more from the guest: bounds
  // what a cut copies. One request more may be added to it.
  static constexpr uint64_t kMaxOutstandingBytes = 64ull << 20;

  // `wake` makes the ring thread drain the lane with next_released(). It is called from other threads, must not block
  // and must not call the gate; it is never called after the destructor returned.
  GateLane(std::shared_ptr<OutputGate> gate, std::function<void()> wake);
  ~GateLane();
  GateLane(const GateLane&) = delete;
  GateLane& operator=(const GateLane&) = delete;

  // True: let it out now. False: it is held; next_released() hands it back once it may leave. Never passes anything
  // that came before something held (FIFO within a lane).
  bool admit(Outbound& request);

  // The oldest held request that may leave now, removed from the lane, or nullptr. The law: open, or its sequence was
  // released; and the lease, where one is required, is valid at this moment.
  Outbound* next_released();

  // Whether what passed already may be given to the host now. A device asks where nothing but the system call is left
  // to do: a request may have waited on its way there, in whoever's hands, for longer than the lease. Where the lease
  // has ended the lane is woken by the next renewal. Any thread, without the lock, too.
  bool may_submit() const noexcept;

  // An admitted request has left and is answered: its bytes are not needed any more.
  void done(Outbound& request) noexcept;
  uint64_t outstanding_bytes() const noexcept { return outstanding_bytes_; }
  bool is_full() const noexcept { return outstanding_bytes_ >= kMaxOutstandingBytes; }

  // At a cut: copies the bytes of every held request that is not frozen yet. Their bytes are those of the cut from now
  // on.
  void freeze();
  // Ahead of the cut, where there is much to copy: the guest runs meanwhile, and stands still then.
  static void freeze(Outbound& held);

  // Forgets a held request (device reset: the guest took it back). It never leaves; it is done().
  void drop(Outbound& request);

  // Oldest first, by sequence.
  std::span<Outbound* const> held() const noexcept;

  // Held requests that were not released. What was, and is still here, leaves any moment: with a lease, or by whoever
  // is about to call next_released().
  uint32_t kept_back() const noexcept;

 private:
  friend class OutputGate;
  std::shared_ptr<OutputGate> gate_;
  std::function<void()> wake_;
  std::vector<Outbound*> held_;
  size_t first_ = 0;  // held_[0, first_) has left already
  uint64_t outstanding_bytes_ = 0;
};

// What was held, to whoever decides about epochs: console bytes do not trigger one by themselves.
enum class HeldOutput : uint8_t { kRequest = 1, kConsole = 2 };

// One a domain. Open: every request passes. Closed: every request is held until release() names its sequence. All
// methods may be called from any thread.
class OutputGate {
 public:
  // Called on a ring thread, under its device's lock: must not block, nor call the gate.
  using HeldListener = std::function<void(HeldOutput output, uint64_t sequence)>;

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

  // At a cut, before the devices are cut: the newest sequence, which the cut covers. What is held with a later one is
  // told to the listener: the first request and the first console bytes, nothing more until the next cut.
  uint64_t cut() noexcept;
  // Nothing of before is told. An empty function: nobody listens. Returns when the old one is not running any more.
  void set_held_listener(HeldListener listener);

  // With a lease required nothing leaves, gate open or closed, unless the lease is valid: CLOCK_BOOTTIME, in
  // nanoseconds, is below what renew_lease() said last. A renewal never shortens a lease. What was released meanwhile
  // leaves after the next renewal.
  void require_lease(bool required);
  void renew_lease(int64_t until_boottime_ns);
  // The lease is over, whatever is renewed later, until require_lease() is called again: the guest is handed over, and
  // what is here still, released or not, is let out over there.
  void end_lease() noexcept;
  // Whether something could leave now; true where none is required.
  bool has_lease() const noexcept;

  Counters counters() const noexcept;

 private:
  friend class GateLane;
  static constexpr uint64_t kNobodyArmed = UINT64_MAX;

  bool was_released(uint64_t sequence) const noexcept;
  bool lease_holds() noexcept;
  void tell_held(const Outbound& request);
  void wake_lanes();

  std::atomic<bool> open_{true};
  std::atomic<uint64_t> last_{0};
  std::atomic<uint64_t> released_through_{0};
  std::atomic<uint64_t> passed_{0};
  std::atomic<uint64_t> held_{0};
  std::atomic<uint64_t> released_{0};
  // The lowest sequence that is told to the listener, or kNobodyArmed, by HeldOutput - 1.
  std::array<std::atomic<uint64_t>, 2> armed_from_{kNobodyArmed, kNobodyArmed};
  std::mutex listener_mutex_;
  HeldListener listener_;
  std::atomic<bool> lease_required_{false};
  std::atomic<bool> lease_ended_{false};
  std::atomic<int64_t> lease_until_ns_{INT64_MIN};
  std::atomic<bool> lease_awaited_{false};  // somebody found it over since the last renewal
  std::mutex lanes_mutex_;
  std::vector<GateLane*> lanes_;
};

}  // namespace kemari
