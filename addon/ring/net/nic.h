// A virtio-net device (virtio 1.2 section 5.1) over a tap. Queue 2n receives and queue 2n + 1 transmits for pair n; the
// control queue stays with the front-end.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "ring/net/guest_addresses.h"
#include "ring/net/receive_queue.h"
#include "ring/net/tap.h"
#include "ring/net/transmit_queue.h"
#include "ring/ring_device.h"
#include "unique_fd.h"

namespace kemari {

// Written by the ring thread, read by anyone. Frames and bytes as on the wire, without the virtio header.
struct NicStats {
  std::atomic<uint64_t> tx_frames{0};
  std::atomic<uint64_t> tx_bytes{0};
  std::atomic<uint64_t> rx_frames{0};
  std::atomic<uint64_t> rx_bytes{0};
  std::atomic<uint64_t> dropped{0};  // either way: refused by a check, by the tap, or too large for the guest's buffer

  static void add(std::atomic<uint64_t>& counter, uint64_t count) noexcept {
    counter.fetch_add(count, std::memory_order_relaxed);
  }
};

class Nic final : public RingDevice {
 public:
  // Makes the tap, whose `queues` are the device's queue pairs; throws what Tap throws.
  Nic(Options device, const Tap::Options& tap);
  ~Nic() override;

  const NicStats& stats() const noexcept { return stats_; }

  // Puts a frame of ours into the host's network as if the guest had sent it: past the gate, for what the host says of
  // the guest. Without a lease, where one is required, it does nothing. Any thread. Throws KEMARI_NET_TAP.
  void send(std::span<const uint8_t> frame);
  // The guest's IPv4 addresses, big-endian. Any thread.
  std::vector<uint32_t> addresses();

  // Brings up the tap of a NIC whose options left it down. Any thread; throws what Tap::bring_up() throws.
  void open();

 protected:
  uint64_t device_features() const override;
  uint32_t queue_count() const override { return tap_.queue_count() * 2; }
  std::span<const uint8_t> config() const override { return {}; }  // the front-end's own
  bool set_config(uint32_t, std::span<const uint8_t>) override { return false; }
  void features_acked(uint64_t features) override;
  void memory_changed() override;
  void thread_started() override;
  void thread_ending() override;
  void abandon() override;
  void queue_started(uint32_t index) override;
  void queue_kicked(uint32_t index) override;
  void queue_stopping(uint32_t index) override;
  void queue_enabled(uint32_t index, bool enabled) override;
  uint32_t in_flight(uint32_t index) const override;
  void abandon_held(uint32_t index) override;
  void lane_released() override;
  RingDeviceKind kind() const override { return RingDeviceKind::kNic; }
  std::vector<DeviceRequest> requests_to_cut() override;
  std::vector<uint32_t> addresses_to_cut() override { return addresses_.all(); }
  void addresses_restored(std::vector<uint32_t> addresses) override { addresses_.replace(std::move(addresses)); }
  std::vector<CutAnswered> answered_to_cut() override;
  void take_answered(std::span<const CutAnswered> answered, uint64_t features) override;
  void submit_again(uint32_t index, const CutRequest& request, const std::vector<Segment>& writable) override;

 private:
  // Transmitted frames are completed no later than this after they left.
  static constexpr std::chrono::microseconds kQuietDelay{500};

  friend class ReceiveQueue;
  friend class TransmitQueue;

  struct Pair {
    Pair(Nic& nic, uint32_t number) : receive(nic, 2 * number), transmit(nic, 2 * number + 1) {}
    ReceiveQueue receive;
    TransmitQueue transmit;
  };

  // A frame of a checkpoint whose queue has not started yet.
  struct Answered {
    uint32_t queue;
    uint64_t sequence;
    std::vector<uint8_t> bytes;
  };
  void submit_answered(uint32_t index);

  int tap_fd(uint32_t queue_index) const noexcept { return tap_.fd(queue_index / 2); }
  void complete_later();
  void with_tap(const std::function<void()>& change);
  // The tap answers no more (someone deleted it): says so once.
  void tap_gone(int error_number);

  Tap tap_;
  NicStats stats_;
  GuestAddresses addresses_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  uint64_t features_ = 0;  // accepted by the driver
  std::vector<Answered> answered_;
  uint64_t answered_features_ = 0;
  bool is_tap_gone_ = false;
  UniqueFd timer_;  // runs while is_timer_set_
  bool is_timer_set_ = false;
};

}  // namespace kemari
