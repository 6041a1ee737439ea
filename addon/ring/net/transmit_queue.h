// One transmit queue: frames from the guest, checked, through the gate, to the tap, in the order in which they came.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "ring/net/net_header.h"
#include "ring/output_gate.h"
#include "ring/request_queue.h"
#include "ring/ring_device.h"

namespace kemari {

class Nic;

// Used on the ring thread under the device's lock only.
class TransmitQueue {
 public:
  // Frames and bytes between two publications: a guest's TCP sends little more before it hears of what has left.
  static constexpr uint32_t kBatchFrames = 16;
  static constexpr uint64_t kBatchBytes = 128 << 10;
  // Batches that one turn may send before others get the lock.
  static constexpr uint32_t kTurnBatches = 8;
  // A few small frames that have left are completed with the next event, or after Nic::kQuietDelay: nobody waits for
  // their buffers, and a call for each would cost request-response traffic a fifth of its rate.
  static constexpr uint32_t kQuietFrames = 4;
  static constexpr uint64_t kQuietBytes = 4096;
  // Frames that the gate holds are copied and answered at once, so that a guest's TCP does not stop for want of room in
  // the queue; more than so many of a NIC are not taken.
  static constexpr size_t kMaxHeldFrames = 8192;
  static constexpr uint64_t kMaxHeldBytes = 16 << 20;

  TransmitQueue(Nic& nic, uint32_t index) : nic_(nic), index_(index) {}

  void start();
  // Frames that passed the gate and could not be sent are copied and answered, lest they keep the guest from stopping;
  // they wait on.
  void stop();
  // Drops them.
  void give_up_waiting();
  // Sends what the guest has queued.
  void run();
  // The tap takes frames again.
  void tap_writable();
  // Popped and neither held nor completed.
  uint32_t in_flight() const noexcept;
  // Completes the frames that have left.
  void complete_left();
  // Goes on taking frames where that had ended because the lane was full.
  void run_if_starved();
  // Sends what passed the gate and could not leave.
  void send_waiting();

  // As RingDevice::requests_to_cut(), answered_to_cut() and submit_again().
  void add_to_cut(std::vector<DeviceRequest>& requests);
  void add_answered(std::vector<CutAnswered>& answered);
  void submit_again(const CutRequest& cut);
  // A frame of a checkpoint that no chain waits for; false when no guest could have sent it.
  bool submit_answered(std::span<const uint8_t> bytes);

  // Sends what the gate let go of. `request` came from a TransmitQueue of this device.
  static void released(Outbound& request);
  // Forgets what the gate still holds of this queue, and what it let go of that is answered.
  void abandon_held();

 private:
  // A frame between pop and completion. `bytes` starts with our checked copy of the header, never the guest's.
  struct Frame : Outbound {
    TransmitQueue* owner;
    NetHeader header;
    uint64_t frame_bytes;
  };
  enum class Sent : uint8_t { kDone = 1, kNotNow = 2 };  // the tap is full, or the lease over

  // Whether the gate lets it pass now.
  bool admit(Frame& frame);
  bool is_full() const noexcept;
  void answer_unsent(Frame* frame);
  // A frame with these bytes, header first, in memory of ours; nullptr when no guest could have sent it.
  Frame* make_frame(std::span<const uint8_t> bytes);
  Frame* take();
  // Fills `frame` from `chain_`; false when the guest sent nonsense.
  bool parse(Frame& frame);
  void transmit();
  void send_or_wait(Frame* frame);
  Sent send(Frame& frame);
  void has_left(Frame* frame);
  void complete_left_unless_quiet();
  void finish(Frame* frame);
  void recycle(Frame* frame);

  Nic& nic_;
  const uint32_t index_;
  bool running_ = false;
  bool posted_ = false;   // another turn is due
  bool starved_ = false;  // it stopped taking because the lane is full
  Chain chain_;
  std::vector<std::unique_ptr<Frame>> frames_;  // all that were ever needed at once
  std::vector<Frame*> free_;
  std::deque<Frame*> waiting_;  // passed the gate, and could not be sent
  std::vector<uint16_t> left_;  // heads of what was sent, or copied, and is not completed yet
  uint64_t left_bytes_ = 0;
};

}  // namespace kemari
