#include "capture/capture_thread.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <array>
#include <utility>

#include "error.h"

namespace kemari {

CaptureThread::CaptureThread(std::unique_ptr<Capture> capture)
    : capture_(std::move(capture)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_.valid()) fail_errno("KEMARI_CAPTURE_ATTACH", "eventfd", "cannot make the capture's thread");
  thread_ = std::thread([this] { run(); });
}

CaptureThread::~CaptureThread() {
  stop();
}

void CaptureThread::post(Job job) {
  {
    const std::lock_guard lock(mutex_);
    KEMARI_ASSERT(!stopping_);
    jobs_.push_back(std::move(job));
  }
  const uint64_t one = 1;
  KEMARI_ASSERT(write(wake_.get(), &one, sizeof one) == sizeof one);
}

void CaptureThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  const uint64_t one = 1;
  KEMARI_ASSERT(write(wake_.get(), &one, sizeof one) == sizeof one);
  if (thread_.joinable()) thread_.join();
}

void CaptureThread::run() {
  pthread_setname_np(pthread_self(), "kemari-capture");
  while (run_jobs()) listen();
  capture_->detach();
}

// False when the thread is to end.
bool CaptureThread::run_jobs() {
  while (true) {
    Job job;
    {
      const std::lock_guard lock(mutex_);
      if (jobs_.empty()) return !stopping_;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job(*capture_);
  }
}

// Sleeps until there is a job, and takes what the hypervisor says meanwhile: what nobody reads, it would keep.
void CaptureThread::listen() {
  std::array<pollfd, 2> fds{pollfd{wake_.get(), POLLIN, 0},
                            pollfd{listening_ ? capture_->monitor_fd() : -1, POLLIN, 0}};
  poll(fds.data(), fds.size(), -1);
  uint64_t count;
  if (read(wake_.get(), &count, sizeof count) == sizeof count || fds[1].revents == 0) return;
  try {
    capture_->take_messages();
  } catch (const Error&) {
    // It has hung up. Whoever asks for something next is told.
    listening_ = false;
  }
}

}  // namespace kemari
