// One device of a guest and the thread that serves it: the queues' life cycle, and the event loop. Its front-end says
// where queues are and when they start and stop. A disk or a NIC derives from it and says what its queues mean.
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
#include "ring/front_end.h"
#include "ring/idle_poll.h"
#include "ring/output_gate.h"
#include "ring/request_queue.h"
#include "ring/ring_state.h"
#include "unique_fd.h"

namespace kemari {

struct DeviceQueue;
namespace xen {
class SplitDriver;
}

// What a device tells its owner (delivered to JavaScript as a message). `text` is for people.
struct DeviceEvent {
  // kStarted is sent once, when its first queue starts (of a guest of Xen's: all of them); a restart is no event.
  enum class Type : uint8_t { kStarted = 1, kDisconnected = 2, kProtocolError = 3, kQueueBroken = 4, kIoError = 5 };
  Type type;
  std::string code;  // KEMARI_... for errors
  std::string text;
};

// A request in a device's hands, as a cut describes it. The bytes are frozen and last until the request is answered.
struct DeviceRequest {
  uint32_t queue;
  uint16_t head;
  RequestKind kind;
  RequestPlace place;
  uint64_t sequence = 0;  // at the gate; 0: not outbound
  uint64_t sector = 0;
  std::span<const uint8_t> bytes;
  SharedBytes shared = {};  // the same, with who keeps them
};

// A request that was popped and whose completion the guest has not seen.
struct PendingRequest {
  uint32_t queue;
  uint16_t head;
  bool held;  // at the gate
};

// Locking. `mutex()` is held by the ring thread whenever it is not waiting; whoever else holds it has the thread
// parked: rings, pending requests and the lane stand still. Other threads take it through park(), which the ring thread
// lets pass first. All virtuals run on the ring thread with the lock held, and so must every call of a protected
// method.
//
// Life: construct, start(), stop(). The ring thread calls virtuals, so the most derived class calls stop() in its
// destructor (asserted).
class RingDevice {
 public:
  struct Options {
    std::string name;                  // for the thread's name and messages, e.g. "disk0"
    UniqueFd socket;                   // connected vhost-user socket, this side, or else
    FrontEndMaker front_end = {};      // who speaks for the guest's driver
    std::shared_ptr<OutputGate> gate;  // the domain's
    bool allow_io_uring = true;
    std::function<void(DeviceEvent)> on_event;  // called on the ring thread; must not block
  };
  virtual ~RingDevice();
  RingDevice(const RingDevice&) = delete;
  RingDevice& operator=(const RingDevice&) = delete;

  void start();  // starts the thread
  // In the place of start() and stop(): the caller's thread is the ring thread, until `next` says false and the device
  // has let go of everything. `next` is called between turns, without the lock, and plays front-end and guest.
  void run_here(const std::function<bool()>& next);
  // Drops what is held, abandons what is in flight (see abandon()), ends the thread, closes the socket. Blocks until
  // done. Idempotent. Any thread but the ring's own.
  void stop();

  std::mutex& mutex() noexcept { return mutex_; }
  // Takes mutex() from another thread; the ring thread gives way.
  std::unique_lock<std::mutex> park();

  // What GET_VRING_BASE does with requests in flight. Draining (default) answers after they completed, as the
  // specification wants; behind a closed gate that is after their release. Suspending answers at once: they stay
  // pending, what completes meanwhile is published after the ring was started again at the same place; a ring that is
  // started elsewhere (the guest reset it) is drained first: held requests are dropped, completions discarded.
  void set_suspend_on_stop(bool suspend);

  // The machine stands still from here on, and goes on: for a front-end that does not hear of it otherwise. With
  // suspending on, cut() may come in between. Parks the thread.
  void machine_stopped();
  void machine_continues();

  // When the front-end last began to stop its queues, CLOCK_MONOTONIC; 0: never. By then no vCPU runs. Any thread.
  int64_t stop_began_ns() const noexcept { return stop_began_ns_.load(std::memory_order_relaxed); }

  // Copies the bytes of all that is held (a cut). Parks the thread.
  void freeze_held();
  // The device's part of a checkpoint: of each queue its place and the requests that were popped and whose completion
  // the guest has not seen, with the bytes that leave or have left (ring/ring_state.h has the layout). The machine
  // stands still and the queues are suspended, else KEMARI_RING_STATE. In this order: OutputGate::cut(), then this for
  // every device, then DirtyBitmap::take(), then the copying of pages: what completes afterwards is pending here and
  // submitted again by the standby, whatever its pages hold. Parks the thread.
  TracedBytes cut();
  // Takes over what cut() gave on another host, before any queue starts. A queue that then starts where it was cut
  // publishes what was completed and submits again what was not, in the old order and with the bytes of the cut. The
  // bytes are a peer's: throws KEMARI_RING_STATE for whatever is wrong with them. Parks the thread.
  void restore(std::span<const uint8_t> bytes);
  // Popped and not completed, per queue, oldest first. Parks the thread.
  std::vector<PendingRequest> pending();
  // Of those, how many are with the host or will be any moment: neither kept back by the gate nor completed, with only
  // the guest not knowing yet. Once the machine stands still this falls to 0. Parks the thread.
  uint32_t submitted();

  const std::string& name() const noexcept { return name_; }

 protected:
  explicit RingDevice(Options options);

  // --- what a device says of itself -------------------------------------------------------------------------------
  virtual uint64_t device_features() const = 0;  // virtio device feature bits 0-23, without ring features
  virtual uint32_t queue_count() const = 0;      // in [1, kMaxQueues]; constant
  // Virtio configuration space; empty: none is offered (VHOST_USER_PROTOCOL_F_CONFIG; QEMU wants none from a NIC).
  virtual std::span<const uint8_t> config() const = 0;
  virtual bool set_config(uint32_t offset, std::span<const uint8_t> bytes) = 0;  // false: refused
  // SET_FEATURES: virtio feature bits, those of the ring included. Repeated at each start of the device.
  virtual void features_acked(uint64_t features) = 0;
  virtual void memory_changed() = 0;  // the table of `memory()` is new
  // --- the thread ---------------------------------------------------------------------------------------------------
  virtual void thread_started() {}  // once, before anything is served: the place to add to loop()
  virtual void thread_ending() {}   // once, after the last request is gone and before the loop goes
  // After every handler and completion of one run_once(), before the thread waits again: the place to batch.
  virtual void turn_ended() {}
  // The device goes (stop(), or the front-end left): cancel what can be cancelled. Everything in flight must still
  // reach complete(), which discards it; stop() waits for that.
  virtual void abandon() {}
  // --- queues -------------------------------------------------------------------------------------------------------
  // The queue runs (started and enabled): pop until kEmpty, then wait for queue_kicked(). Requests that a former life
  // left over come first out of pop(), in their old order.
  virtual void queue_started(uint32_t index) = 0;
  virtual void queue_kicked(uint32_t index) = 0;
  // Stop popping; the queue is not running any more when this is called. Buffers that were popped for later use
  // (receive buffers) are put back here with unpop(). Requests in flight go on and end in complete().
  virtual void queue_stopping(uint32_t index) = 0;
  // Popped and neither held nor completed: what will still reach complete() by itself. Checked against the pending list
  // where the base waits for 0.
  virtual uint32_t in_flight(uint32_t index) const = 0;
  // The front-end switched the ring on or off (SET_VRING_ENABLE), started or not; a stop alone is no such change.
  virtual void queue_enabled(uint32_t index, bool enabled) { (void)index, (void)enabled; }
  // The guest took its requests back, or the device ends: what the gate still holds of this queue never leaves. The
  // device drops it from the lane and frees it; it must not complete() it, the base takes it off the pending list.
  virtual void abandon_held(uint32_t index) = 0;
  virtual void lane_released() = 0;  // the gate let go of something: drain the lane with next_released()
  // --- cuts -------------------------------------------------------------------------------------------------------
  virtual RingDeviceKind kind() const = 0;
  // Everything in the device's hands, held or in flight, in any order. What was held is frozen already; the rest that
  // leaves is frozen here. Any thread, with the lock held.
  virtual std::vector<DeviceRequest> requests_to_cut() = 0;
  // A disk's: RingState::unanswered_writes.
  virtual uint32_t unanswered_to_cut() const { return 0; }
  // A disk's: RingState::unflushed, and how it comes back, before any request does.
  virtual UnflushedChanges unflushed_to_cut() const { return {}; }
  virtual void unflushed_restored(UnflushedChanges) {}
  // A NIC's: which addresses the guest uses. They travel with a checkpoint.
  virtual std::vector<uint32_t> addresses_to_cut() { return {}; }
  virtual void addresses_restored(std::vector<uint32_t>) {}
  // What the guest has back already and what has not left, in the order of sequences; and how it comes back, of a
  // device that then had `features`. Both with the lock held, any thread; the bytes as above.
  virtual std::vector<CutAnswered> answered_to_cut() { return {}; }
  virtual void take_answered(std::span<const CutAnswered> answered, uint64_t features);
  // A request of a checkpoint, pending again: through the gate and to the host, with the checkpoint's bytes, never
  // those in guest memory. `writable` are its segments, translated; `request.bytes` last only for the call. What a peer
  // may have got wrong is KEMARI_RING_STATE, and the device has not taken it then.
  virtual void submit_again(uint32_t index, const CutRequest& request, const std::vector<Segment>& writable) = 0;
  // ------------------------------------------------------------------------------------------------------------------
  EventLoop& loop() noexcept { return *loop_; }
  GuestMemory& memory() noexcept { return memory_; }
  GateLane& lane() noexcept { return *lane_; }
  const GateLane& lane() const noexcept { return *lane_; }
  RequestQueue& queue(uint32_t index) noexcept;
  // Started and enabled. Where false, pop() yields kEmpty.
  bool running(uint32_t index) const noexcept;

  // Pops a chain, recording it (in order) as pending and in the inflight area. Reports a broken queue by itself.
  PopResult pop(uint32_t index, Chain& chain);
  // Puts back the last `count` popped chains of this queue, none of them completed: nothing was done with them.
  void unpop(uint32_t index, uint16_t count);
  // Ends a request in whatever state its queue is: marks the pages of the chain's writable segments dirty, writes the
  // used entry (`written` in bytes) and takes the request off the pending list; keeps it while the queue is suspended;
  // discards it where the guest took the queue away. The guest sees it after notify().
  void complete(uint32_t index, uint16_t head, uint32_t written);
  // The same where nothing but the first `written` bytes of the writable segments was touched: marks only those.
  void complete_exact(uint32_t index, uint16_t head, uint32_t written);
  // The guest sent what cannot be answered (no place for a status, for example): reported, nothing more is popped until
  // the queue is started again. For what a device finds wrong; pop() does it for what the ring finds wrong. unpop() the
  // request first, a stop would wait for its completion.
  void break_queue(uint32_t index, const std::string& why);
  // Publishes completed requests and calls the guest if it wants to be called. The base does it for every queue before
  // the thread waits, so a device needs it only to be seen earlier.
  void notify(uint32_t index);
  void emit(DeviceEvent event);

  static constexpr uint32_t kMaxQueues = 64;

 private:
  friend class VhostUserSession;
  friend class xen::SplitDriver;

  // --- the thread (ring_device.cc) ---
  void make_queues();
  void run();
  template <typename Turn>
  void serve(std::unique_lock<std::mutex>& lock, Turn&& turn);
  void enter();
  void leave(std::unique_lock<std::mutex>& lock);
  void settle();
  void wait(std::unique_lock<std::mutex>& lock);
  bool serve_offered();
  bool arm_kicks();
  bool idle() const noexcept;  // nothing in flight
  void give_way(std::unique_lock<std::mutex>& lock);
  // The device is at its end: stops and forgets all queues, drops what is held. Idempotent.
  void let_go();
  // Runs `body`; what it throws ends the connection and is reported.
  template <typename Body>
  void protect(Body&& body) noexcept {
    try {
      body();
    } catch (...) {
      failed();
    }
  }
  void failed() noexcept;  // in a catch block
  void connection_ended(DeviceEvent event);
  // --- the queues' life (ring_device_queues.cc) ---
  void set_enabled(DeviceQueue& queue, bool enabled);
  void kicked(DeviceQueue& queue);
  void try_start(DeviceQueue& queue);
  bool at_same_place(DeviceQueue& queue);
  void begin(DeviceQueue& queue);
  void prepare(DeviceQueue& queue);
  InflightQueue inflight_of(const DeviceQueue& queue);
  void now_started(DeviceQueue& queue);
  void start_restored(DeviceQueue& queue);  // ring_device_cut.cc
  void resume(DeviceQueue& queue);
  void adopt_inflight(DeviceQueue& queue);
  // False: it drains, and is stopped once `queue.state` is no longer kDraining.
  bool stop_queue(DeviceQueue& queue);
  bool advance_stop(DeviceQueue& queue);
  void discard(DeviceQueue& queue);
  void update_running(DeviceQueue& queue);
  bool advance(DeviceQueue& queue);  // what became possible since; true if anything
  void memory_replaced();
  void publish(DeviceQueue& queue);
  void drop_held(DeviceQueue& queue);
  void forget(DeviceQueue& queue, uint16_t head);
  void report_fault(DeviceQueue& queue);
  void finish(uint32_t index, uint16_t head, uint32_t written, uint64_t touched);

  std::string name_;
  std::mutex mutex_;
  std::atomic<uint32_t> parkers_{0};     // threads that wait for mutex_ in park()
  std::atomic<bool> lane_woken_{false};  // lane_released() is due
  bool stopping_ = false;                // stop() was called
  bool suspend_on_stop_ = false;
  bool queues_stop_ = false;  // one was stopped, and none has started since
  std::atomic<int64_t> stop_began_ns_{0};
  bool gone_ = false;       // let_go() was done
  bool announced_ = false;  // kStarted was sent
  bool restored_ = false;   // restore() was called
  uint64_t restored_features_ = 0;
  std::function<void(DeviceEvent)> on_event_;
  GuestMemory memory_;
  std::unique_ptr<EventLoop> loop_;  // this and what follows goes as the thread ends
  std::unique_ptr<GateLane> lane_;   // wakes loop_, so it goes first
  // Requests that ended since the last wait; more than kFewCompletions are a batch (of one request and its answer
  // each).
  uint32_t completed_ = 0;
  static constexpr uint32_t kFewCompletions = 2;
  IdlePoll idle_poll_;
  std::vector<std::unique_ptr<DeviceQueue>> queues_;
  std::unique_ptr<FrontEnd> front_end_;
  std::mutex life_mutex_;  // start() and stop()
  std::thread thread_;
  bool stopped_ = false;  // stop() has ended
};

}  // namespace kemari
