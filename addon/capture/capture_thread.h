// The thread on which a capture lives: it carries out what JavaScript asks for, one call after the other, and listens
// to the hypervisor in between.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "capture/capture.h"
#include "unique_fd.h"

namespace kemari {

class CaptureThread {
 public:
  using Job = std::function<void(Capture&)>;

  explicit CaptureThread(std::unique_ptr<Capture> capture);
  ~CaptureThread();  // as stop()
  CaptureThread(const CaptureThread&) = delete;
  CaptureThread& operator=(const CaptureThread&) = delete;

  // `job` must not throw. Not after stop().
  void post(Job job);
  // Makes a round that runs, or is still to run, end early; see Capture::abort().
  void abort() noexcept { capture_->abort(); }
  // Carries out what was posted, then ends the thread. Idempotent. Any thread but its own.
  void stop();

 private:
  void run();
  bool run_jobs();
  void listen();

  std::unique_ptr<Capture> capture_;
  UniqueFd wake_;
  std::mutex mutex_;  // of what follows
  std::deque<Job> jobs_;
  bool stopping_ = false;
  bool listening_ = true;  // the hypervisor has not hung up
  std::thread thread_;
};

}  // namespace kemari
