// The paused window: one checkpoint of a running guest, taken from outside its hypervisor.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "capture/page_ranges.h"
#include "capture/page_tracker.h"
#include "capture/qmp_monitor.h"
#include "capture/state_file.h"
#include "capture/vcpu_load.h"
#include "error.h"
#include "link/checkpoint.h"
#include "memory/guest_memory.h"
#include "ring/console/console_pump.h"
#include "ring/output_gate.h"
#include "ring/ring_device.h"
#include "unique_fd.h"

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

// Used by one thread, abort() aside. `xen-save-devices-state` stops the guest, writes its device state and lets it go
// on, all by itself; the file that it writes to (StateFile) keeps it from going on before we have copied the pages.
//
//   QEMU     stops vCPUs and rings ─ STOP ─ serializes ────────── close() waits ─┐ starts rings and vCPUs ─ answers
//   capture  one byte ┘              └ gate, rings, console, pages ──────────────┘ submits
class Capture {
 public:
  struct Domain {
    pid_t process;
    std::vector<pid_t> vcpu_threads;
    UniqueFd monitor;
    UniqueFd ram_file;
    std::shared_ptr<OutputGate> gate;
    std::vector<std::shared_ptr<RingDevice>> devices;
    std::shared_ptr<ConsolePump> console;  // may be none
    std::shared_ptr<CheckpointSink> sink;
  };
  // Throws KEMARI_RAM_MAP, KEMARI_ARGUMENT.
  explicit Capture(Domain domain);
  ~Capture();

  // What each does and throws: src/native/capture.ts.
  void attach();
  CopyRoundResult copy_round();
  uint64_t count_dirty();
  // `guest_paused`: what the checkpoint says of it. `called_ns`: when it was asked for (CLOCK_MONOTONIC).
  CaptureResult capture(uint64_t epoch, ResumePolicy policy, bool guest_paused, int64_t called_ns);
  // The whole pause, and whether the guest runs.
  CaptureResult resume();
  void detach() noexcept;

  // Makes copy_round() end with KEMARI_CAPTURE_ABORTED, until detach(). Any thread.
  void abort() noexcept { aborted_.store(true); }

  // Between calls: readable when QEMU has said something, which take_messages() is to read.
  int monitor_fd() const noexcept { return monitor_.fd(); }
  void take_messages();

 private:
  // What is known of the command that was triggered.
  struct Command {
    bool stopped = false;  // the guest ran, and has stopped
    bool resumed = false;
    bool answered = false;
    std::string error = {};  // the answer, where it is one
  };

  void require(bool condition, const char* what) const;
  void prime();
  void collect_theirs();
  void collect_ours();
  void copy(Checkpoint& checkpoint);
  void stop_guest();
  void cut_rings(Checkpoint& checkpoint);
  void wait_for_state();
  void check_state(const std::vector<uint8_t>& state) const;
  void wait_for_answer();
  void let_go();
  void finish(int64_t released_ns);
  template <typename Reached>
  void wait_until(Reached&& reached, const char* what);
  void handle(const QmpMonitor::Message& message);
  void give_up() noexcept;

  Domain domain_;
  std::shared_ptr<RamFile> ram_;
  QmpMonitor monitor_;
  bool negotiated_ = false;
  std::unique_ptr<StateFile> state_file_;  // this and what follows: while attached
  std::string state_path_;
  std::unique_ptr<PageTracker> tracker_;
  bool counting_ = false;  // the tracker knows what was sent
  PageRanges owed_;        // found, and not submitted
  PageRanges found_;       // of one collect_theirs(); a member for its memory
  Command command_;
  CaptureResult result_;  // of the capture that is held, too
  int64_t triggered_ns_ = 0;
  int64_t whole_ns_ = 0;          // when the state was
  std::optional<VcpuLoad> load_;  // while attached
  int64_t resumed_ns_ = 0;
  bool held_ = false;
  std::optional<Error> broken_;  // why nothing more can be asked of QEMU
  std::atomic<bool> aborted_{false};
};

}  // namespace kemari
