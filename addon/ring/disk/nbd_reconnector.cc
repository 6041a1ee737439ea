#include "ring/disk/nbd_reconnector.h"

#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "error.h"

namespace kemari {

NbdReconnector::~NbdReconnector() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void NbdReconnector::open() {
  ended_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!ended_.valid()) fail_errno("KEMARI_DISK_WORKERS", "eventfd", "cannot watch for the return of NBD disk " + uri_);
}

void NbdReconnector::start() {
  const std::lock_guard lock(mutex_);
  if (running_ || outcome_.connection != nullptr) return;
  if (!thread_.joinable()) {
    try {
      thread_ = std::thread([this] { run(); });
      ::pthread_setname_np(thread_.native_handle(), "kemari-nbd");
    } catch (const std::system_error&) {
      return;  // the next request tries again
    }
  }
  running_ = true;
  changed_.notify_all();
}

NbdReconnector::Outcome NbdReconnector::take() {
  eventfd_t count;
  (void)::eventfd_read(ended_.get(), &count);
  const std::lock_guard lock(mutex_);
  return std::exchange(outcome_, {});
}

void NbdReconnector::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || running_; });
    round(lock);
    if (ending_) return;
    running_ = false;
    (void)::eventfd_write(ended_.get(), 1);
  }
}

void NbdReconnector::round(std::unique_lock<std::mutex>& lock) {
  auto pause = kFirstPause;
  for (int attempt = 0; attempt < kAttempts && !ending_; ++attempt) {
    lock.unlock();
    Outcome outcome;
    try {
      const auto stopped = [this] {
        const std::lock_guard inner(mutex_);
        return ending_;
      };
      outcome.connection = std::make_unique<NbdConnection>(uri_, kConnectTimeout, stopped);
    } catch (const Error& error) {
      outcome.failure = error.what();
    }
    lock.lock();
    outcome_ = std::move(outcome);
    if (outcome_.connection != nullptr) return;
    changed_.wait_for(lock, pause, [this] { return ending_; });
    pause = std::min(pause * 2, kLastPause);
  }
}

}  // namespace kemari
