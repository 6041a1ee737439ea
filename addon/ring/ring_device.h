// One vhost-user device of a guest and the thread that serves it: the back-end side of the protocol, the queues' life
// cycle and the event loop. A disk or a NIC derives from it and says what its queues mean.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "memory/guest_memory.h"
#include "ring/event_loop.h"
#include "ring/output_gate.h"
#include "ring/split_queue.h"
#include "unique_fd.h"

namespace kemari {

// What a device tells its owner (delivered to JavaScript as a message). `text` is for people.
struct DeviceEvent {
  enum class Type : uint8_t { kStarted = 1, kDisconnected = 2, kProtocolError = 3, kQueueBroken = 4, kIoError = 5 };
  Type type;
  std::string code;  // KEMARI_... for errors
  std::string text;
};

// Locking. `mutex()` is held by the ring thread whenever it is not waiting; whoever else holds it has the thread parked:
// rings, pending requests and the lane stand still. All protected virtuals run on the ring thread with the lock held.
class RingDevice {
 public:
  struct Options {
    std::string name;            // for the thread's name and messages, e.g. "disk0"
    UniqueFd socket;             // connected vhost-user socket, this side
    OutputGate* gate;            // the domain's; outlives the device
    bool allow_io_uring = true;
    std::function<void(DeviceEvent)> on_event;  // called on the ring thread; must not block
  };
  // A derived class calls stop() first thing in its destructor: its virtuals run until the thread has ended.
  virtual ~RingDevice();

  void start();  // starts the thread
  void stop();   // completes or abandons what is in flight, ends the thread, closes the socket. Idempotent. Any thread.

  std::mutex& mutex() noexcept { return mutex_; }

  // What GET_VRING_BASE does with requests in flight. Draining (default) answers after they completed, as the
  // specification wants. Suspending answers at once: they stay pending, what completes meanwhile is published after the
  // ring was started again at the same place; a ring that is started elsewhere (the guest reset it) is drained first.
  void set_suspend_on_stop(bool suspend);

 protected:
  explicit RingDevice(Options options);

  // --- what a device says of itself -------------------------------------------------------------------------------
  virtual uint64_t device_features() const = 0;           // virtio device feature bits 0-23, without ring features
  virtual uint32_t queue_count() const = 0;
  virtual std::span<const uint8_t> config() const = 0;    // virtio configuration space
  virtual bool set_config(uint32_t offset, std::span<const uint8_t> bytes) = 0;  // false: refused
  virtual void features_acked(uint64_t features) = 0;
  virtual void memory_changed() = 0;                      // the table of `memory()` is new
  // --- the thread ---------------------------------------------------------------------------------------------------
  virtual void thread_started() {}  // once, before anything is served: the place to add to loop()
  virtual void thread_ending() {}   // once, after the last request is gone and before the loop goes
  // After every handler and completion of one run_once(), before the thread waits again: the place to batch.
  virtual void turn_ended() {}
  // --- queues -------------------------------------------------------------------------------------------------------
  virtual void queue_started(uint32_t index) = 0;
  virtual void queue_kicked(uint32_t index) = 0;
  // Stop popping. In-flight requests of this queue: in_flight(index) tells how many remain; the base class waits for 0
  // when draining.
  virtual void queue_stopping(uint32_t index) = 0;
  virtual uint32_t in_flight(uint32_t index) const = 0;
  // The front-end switched the ring on or off (SET_VRING_ENABLE), started or not; a stop alone is no such change.
  virtual void queue_enabled(uint32_t index, bool enabled) { (void)index, (void)enabled; }
  // The guest took its requests back, or the device ends: what the gate still holds of this queue never leaves. The
  // device drops it from the lane; in_flight(index) then counts only what is on its way and will complete.
  virtual void abandon_held(uint32_t index) = 0;
  virtual void lane_released() = 0;                       // the gate let go of something: drain the lane
  // ------------------------------------------------------------------------------------------------------------------
  EventLoop& loop() noexcept;
  GuestMemory& memory() noexcept;
  GateLane& lane() noexcept;
  SplitQueue& queue(uint32_t index) noexcept;
  // Marks all writable pages of the chain dirty (whatever `written` says), writes the used entry, removes the request
  // from the pending list and inflight area; held back while the queue is suspended. Call notify(index) after a batch.
  void complete(uint32_t index, uint16_t head, uint32_t written);
  void notify(uint32_t index);  // publishes and calls the guest if it wants to be called
  // Pops a chain, recording it (in order) as pending and in the inflight area. Reports a broken queue by itself.
  PopResult pop(uint32_t index, Chain& chain);
  // Puts back the newest `count` chains that were popped from this queue; they are pending no more.
  void unpop(uint32_t index, uint16_t count);
  // The guest sent what cannot be answered (no place for a status, for example): reported, nothing more is popped until
  // the queue is started again. For what a device finds wrong; pop() does it for what the ring finds wrong.
  void break_queue(uint32_t index, const std::string& why);
  void emit(DeviceEvent event);

 private:
  std::mutex mutex_;
  // ... the ring core's own
};

}  // namespace kemari
