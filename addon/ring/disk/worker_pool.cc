#include "ring/disk/worker_pool.h"

#include <pthread.h>
#include <sys/eventfd.h>

#include <system_error>

#include "error.h"

namespace kemari {

WorkerPool::WorkerPool(EventLoop& loop) : loop_(loop), finished_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!finished_event_.valid()) fail_errno("KEMARI_DISK_WORKERS", "eventfd", "cannot make the disk's worker event");
  loop_.add(finished_event_.get(), [this] { collect(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    KEMARI_ASSERT(waiting_.empty() && finished_.empty());
    ending_ = true;
  }
  work_to_do_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  loop_.remove(finished_event_.get());
}

void WorkerPool::submit(Job& job) {
  const std::lock_guard lock(mutex_);
  if (waiting_.size() >= idle_ && threads_.size() < kDiskWorkerThreads) {
    try {
      threads_.emplace_back([this] { work(); });
      ::pthread_setname_np(threads_.back().native_handle(), "kemari-disk-io");
    } catch (const std::system_error&) {
      if (threads_.empty()) throw;  // with fewer threads than wished the work is only slower
    }
  }
  waiting_.push_back(&job);
  work_to_do_.notify_one();
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    work_to_do_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    --idle_;
    if (waiting_.empty()) return;
    Job* job = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    job->run();
    lock.lock();
    finished_.push_back(job);
    // One write a batch: whoever makes the list non-empty rings.
    if (finished_.size() == 1) KEMARI_ASSERT(::eventfd_write(finished_event_.get(), 1) == 0);
  }
}

void WorkerPool::collect() {
  eventfd_t count;
  (void)::eventfd_read(finished_event_.get(), &count);
  {
    const std::lock_guard lock(mutex_);
    collected_.swap(finished_);
  }
  for (Job* job : collected_) job->done_running();
  collected_.clear();
}

}  // namespace kemari
