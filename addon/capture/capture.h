// The paused window: one checkpoint of a running guest, taken from outside it. What every hypervisor has in common: the
// pages that are owed, and the rings and the console that kemari itself serves.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "capture/page_ranges.h"
#include "link/checkpoint.h"
#include "ring/console/console_pump.h"
#include "ring/output_gate.h"
#include "ring/ring_device.h"

namespace kemari {

// kHeld: the guest stays stopped until resume().
enum class ResumePolicy : uint8_t { kAtOnce = 1, kHeld = 2 };

// Times in nanoseconds; see src/native/capture.ts.
struct CaptureResult {
  uint64_t epoch = 0;
  uint64_t through_sequence = 0;
  int64_t pause_ns = 0;
  double busy_share = 1;
  uint64_t dirty_pages = 0;
  uint64_t state_bytes = 0;
  bool was_running = false;
  bool resumed = false;
  int64_t trigger_ns = 0;
  int64_t stop_ns = 0;
  int64_t scan_ns = 0;
  int64_t copy_ns = 0;
  int64_t serialize_ns = 0;
  int64_t resume_ns = 0;
};

struct CopyRoundResult {
  uint64_t pages = 0;
  uint64_t dirty_left = 0;
};

// Used by one thread, abort() aside. What each call does and throws: src/native/capture.ts.
class Capture {
 public:
  // What of the domain is kemari's own.
  struct Outputs {
    std::shared_ptr<OutputGate> gate;
    std::vector<std::shared_ptr<RingDevice>> devices;
    std::shared_ptr<ConsolePump> console;  // may be none
    std::shared_ptr<CheckpointSink> sink;
  };

  virtual ~Capture() = default;  // of one that is detached
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  virtual void attach() = 0;
  CopyRoundResult copy_round();
  virtual uint64_t count_dirty() = 0;
  // `guest_paused`: what the checkpoint says of it. `called_ns`: when it was asked for (CLOCK_MONOTONIC).
  virtual CaptureResult capture(uint64_t epoch, ResumePolicy policy, bool guest_paused, int64_t called_ns) = 0;
  // The whole pause, and whether the guest runs.
  virtual CaptureResult resume() = 0;
  virtual void detach() noexcept = 0;

  // Makes copy_round() end with KEMARI_CAPTURE_ABORTED, until detach(). Any thread.
  void abort() noexcept { aborted_.store(true); }

  // Between calls: readable when the hypervisor has said something, which take_messages() is to read; -1: it never
  // does.
  virtual int monitor_fd() const noexcept { return -1; }
  virtual void take_messages() {}

 protected:
  explicit Capture(Outputs outputs) : outputs_(std::move(outputs)) {}

  // Throws KEMARI_CAPTURE_STATE, and what else makes every call fail.
  virtual void require_round() const = 0;
  // Adds to `owed()` what was written since the last time, by anyone.
  virtual void collect() = 0;
  // The contents of these pages, in this order.
  virtual void copy(Checkpoint& checkpoint) = 0;

  // After the gate was cut: what it counts is then in what the devices say. Before the pages that kemari wrote are
  // taken: what a device calls completed is then in those.
  void cut_outputs(Checkpoint& checkpoint);
  void forget_abort() noexcept { aborted_.store(false); }

  const Outputs& outputs() const noexcept { return outputs_; }
  // Found, and not submitted.
  PageRanges& owed() noexcept { return owed_; }
  const PageRanges& owed() const noexcept { return owed_; }

 private:
  Outputs outputs_;
  PageRanges owed_;
  std::atomic<bool> aborted_{false};
};

}  // namespace kemari
