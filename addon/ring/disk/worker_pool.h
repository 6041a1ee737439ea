// A few threads for system calls that block: the whole disk I/O where io_uring is refused, and discards and zeroing of
// ranges, which the kernel would hand to a thread anyway. Jobs come back on the ring thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "ring/event_loop.h"
#include "unique_fd.h"

namespace kemari {

inline constexpr size_t kDiskWorkerThreads = 8;  // a disk; started as they are needed

// submit() and done_running() happen on the ring thread; `run` on a worker, without the device's lock. The queue is
// bounded by the requests that the disk's queues can hold.
class WorkerPool {
 public:
  struct Job {
    virtual void run() = 0;
    virtual void done_running() = 0;

   protected:
    ~Job() = default;
  };

  // Watches for finished jobs in `loop`. Throws KEMARI_DISK_WORKERS when no eventfd is to be had.
  explicit WorkerPool(EventLoop& loop);
  ~WorkerPool();  // no job is under way; ends the threads
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // The job stays the caller's. Throws std::system_error when not even one thread can be started.
  void submit(Job& job);

 private:
  void work();
  void collect();
  EventLoop& loop_;
  UniqueFd finished_event_;
  std::mutex mutex_;
  std::condition_variable work_to_do_;
  std::deque<Job*> waiting_;
  std::vector<Job*> finished_;
  size_t idle_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
  std::vector<Job*> collected_;
};

}  // namespace kemari
