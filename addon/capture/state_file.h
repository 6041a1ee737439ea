// The file that QEMU writes its device state to. It is served by us (FUSE, mounted nowhere), so QEMU's close() of it
// returns when we say so: its vCPUs stay stopped until then, however small or large the state is.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "capture/process_life.h"
#include "unique_fd.h"

namespace kemari {

// Has a thread of its own that answers the kernel. One state at a time.
class StateFile {
 public:
  static constexpr size_t kMaxStateBytes = 64 << 20;

  // `writer` is the process that will write. Throws KEMARI_CAPTURE_STATE_FILE where the host has no FUSE or forbids it.
  explicit StateFile(pid_t writer);
  ~StateFile();  // as abandon(); what is still open fails from then on
  StateFile(const StateFile&) = delete;
  StateFile& operator=(const StateFile&) = delete;

  // The file, open for writing only; for the writer. Ours is to be closed once the writer has it: a process that we
  // fork would close it, too.
  int fd() const noexcept { return file_.get(); }
  void close_ours();

  // The next state goes to `state`, and the writer's close() waits.
  void expect(std::vector<uint8_t>& state);

  enum class Progress : uint8_t { kNothing = 1, kBegun = 2, kWhole = 3, kWriterDied = 4, kTooLarge = 5 };
  // Where the expected state is. kBegun: the writer has stopped its vCPUs; kWhole: it has closed the file, and waits.
  Progress progress() const;
  // Becomes readable when there is progress. For poll(); see drain_progress().
  int progress_fd() const noexcept { return progress_event_.get(); }
  void drain_progress();

  // Lets the writer's close() return, as soon as the state is whole.
  void release();
  // Whatever comes is dropped, and nobody waits any more. `state` of expect() is not touched after this.
  void abandon();

 private:
  UniqueFd mount();
  void end_thread();
  void run();
  bool serve();
  void handle(const std::vector<uint8_t>& request, size_t length);
  void handle_flush(uint64_t unique, uint32_t closer);
  void check_held();
  void answer_attributes(uint64_t unique);
  void answer(uint64_t unique, int error, const void* body = nullptr, size_t length = 0);
  void advance(Progress progress);
  void let_go();

  pid_t writer_;
  ProcessLife writer_life_;
  UniqueFd device_;
  UniqueFd file_;
  UniqueFd progress_event_;
  UniqueFd stop_event_;
  mutable std::mutex mutex_;  // of what follows
  Progress progress_ = Progress::kNothing;
  std::vector<uint8_t>* state_ = nullptr;  // expected
  uint64_t held_ = 0;                      // the close() that waits; 0: none
  bool may_close_ = false;
  std::thread thread_;
};

}  // namespace kemari
