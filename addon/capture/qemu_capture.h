// The paused window of a guest of QEMU's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "capture/capture.h"
#include "capture/page_ranges.h"
#include "capture/page_tracker.h"
#include "capture/qmp_monitor.h"
#include "capture/state_file.h"
#include "capture/vcpu_load.h"
#include "error.h"
#include "memory/guest_memory.h"
#include "unique_fd.h"

namespace kemari {

// `xen-save-devices-state` stops the guest, writes its device state and lets it go
// on, all by itself; the file that it writes to (StateFile) keeps it from going on before we have copied the pages.
//
//   QEMU     stops vCPUs and rings ─ STOP ─ serializes ────────── close() waits ─┐ starts rings and vCPUs ─ answers
//   capture  one byte ┘              └ gate, rings, console, pages ──────────────┘ submits
class QemuCapture final : public Capture {
 public:
  struct Domain {
    pid_t process;
    std::vector<pid_t> vcpu_threads;
    UniqueFd monitor;
    UniqueFd ram_file;
    Outputs outputs;
  };
  // Throws KEMARI_RAM_MAP, KEMARI_ARGUMENT.
  explicit QemuCapture(Domain domain);
  ~QemuCapture() override;

  void attach() override;
  uint64_t count_dirty() override;
  CaptureResult capture(uint64_t epoch, ResumePolicy policy, bool guest_paused, int64_t called_ns) override;
  CaptureResult resume() override;
  void detach() noexcept override;
  int monitor_fd() const noexcept override { return monitor_.fd(); }
  void take_messages() override;

 protected:
  void require_round() const override;
  void collect() override;
  void copy(Checkpoint& checkpoint) override;

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
  void stop_guest();
  int64_t still_since(int64_t triggered_ns, int64_t stopped_ns) const;
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
  PageRanges found_;       // of one collect_theirs(); a member for its memory
  Command command_;
  CaptureResult result_;          // of the capture that is held, too
  int64_t still_ns_ = 0;          // since when the guest stands still
  int64_t whole_ns_ = 0;          // when the state was
  std::optional<VcpuLoad> load_;  // while attached
  int64_t resumed_ns_ = 0;
  bool held_ = false;
  std::optional<Error> broken_;  // why nothing more can be asked of QEMU
};

}  // namespace kemari
