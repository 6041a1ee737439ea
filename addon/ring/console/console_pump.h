// The guest's console between QEMU's serial port and whoever shows it: what the guest prints passes the gate, in order;
// what is typed goes in as it is.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "ring/event_loop.h"
#include "ring/output_gate.h"
#include "unique_fd.h"

namespace kemari {

// Has a thread of its own. `mutex()` is held by it whenever it is not waiting, as with a RingDevice: whoever else holds
// it finds the lane standing still.
class ConsolePump {
 public:
  // Output that was read and has not left, held or not yet taken by a slow reader. When it is reached nothing more is
  // read, and the guest's serial port fills up.
  static constexpr size_t kMaxBufferedBytes = 64 << 10;
  static constexpr size_t kMaxBufferedChunks = 4096;  // guests print single characters
  static constexpr size_t kChunkBytes = 4096;         // at most: one read, one outbound request

  // Both descriptors belong to the pump and become non-blocking. `guest` is QEMU's port, `outlet` where output goes and
  // input comes from. A reader that leaves the outlet only loses output; the end of the guest's side ends the outlet's
  // once everything that may leave has left. Throws KEMARI_CONSOLE, KEMARI_EVENT_LOOP.
  ConsolePump(UniqueFd guest, UniqueFd outlet, std::shared_ptr<OutputGate> gate);
  ~ConsolePump();
  ConsolePump(const ConsolePump&) = delete;
  ConsolePump& operator=(const ConsolePump&) = delete;

  // Ends the thread and closes both descriptors; what is held never leaves. Idempotent. Any thread but its own.
  void stop();

  std::mutex& mutex() noexcept { return mutex_; }

  // The console's part of a checkpoint: what QEMU has written by now and has not left, in order. The machine stands
  // still. After OutputGate::cut(), as a device's cut. Throws KEMARI_CONSOLE when the pump has stopped or when the port
  // holds more than a stopped machine can have written.
  std::vector<uint8_t> cut();
  // What another host's cut() gave: it passes the gate as if the guest had just written it. At most kMaxCutBytes, else
  // KEMARI_RING_STATE.
  void restore(std::span<const uint8_t> bytes);
  static constexpr size_t kMaxCutBytes = 1 << 20;  // the buffers of ours and of a Unix socket, with room to spare

 private:
  struct Output : Outbound {
    std::vector<uint8_t> data;
    size_t written_bytes = 0;
  };
  enum class Progress : uint8_t { kSome = 1, kNone = 2 };

  std::unique_lock<std::mutex> park();  // as RingDevice::park(); throws KEMARI_CONSOLE after stop()
  void run();
  void pump();
  Progress read_output();
  Progress read_chunk();
  void append(std::span<const uint8_t> bytes);
  Progress write_output();
  Progress read_input();
  Progress write_input();
  void take_released();

  std::mutex mutex_;
  std::atomic<uint32_t> parkers_{0};
  UniqueFd guest_;
  UniqueFd outlet_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<GateLane> lane_;
  std::deque<std::unique_ptr<Output>> output_;  // in order: those that passed the gate, then those it holds
  size_t passed_ = 0;                           // how many of output_ passed
  size_t buffered_bytes_ = 0;                   // of output_
  std::array<uint8_t, kChunkBytes> scratch_;
  std::array<uint8_t, kChunkBytes> input_;
  size_t input_first_ = 0;  // input_[first, last) waits for the guest
  size_t input_last_ = 0;
  bool guest_open_ = true;   // for reading
  bool input_open_ = true;   // the outlet may still send
  bool outlet_open_ = true;  // the outlet still reads
  std::atomic<bool> stopping_{false};
  std::mutex life_mutex_;
  std::thread thread_;
};

}  // namespace kemari
