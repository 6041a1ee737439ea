// What a ring thread waits on. Two implementations: io_uring (waits, polls and disk I/O in one system call) and epoll
// (where io_uring is refused). Notifications are edge-triggered in both: a handler reads until there is nothing left.
#pragma once

#include <sys/uio.h>

#include <functional>
#include <memory>
#include <mutex>

struct io_uring;
struct io_uring_sqe;

namespace kemari {

class EventLoop {
 public:
  using Handler = std::function<void()>;

  // io_uring when `allow_io_uring` and the kernel gives one, epoll otherwise. Throws KEMARI_EVENT_LOOP.
  static std::unique_ptr<EventLoop> create(bool allow_io_uring);
  virtual ~EventLoop() = default;

  // Called once, on the ring thread, before its first run_once(): io_uring binds itself to that thread.
  virtual void enter_thread() {}

  // Watches `fd`, which stays the caller's, for input, end of file and errors, and with `output_too` for becoming
  // writable; the handler runs in run_once() for either, at least once if the fd is ready already. Ring thread only (or
  // before it started). After remove() the handler does not run any more, and the fd may be closed and its number used
  // again at once. A handler may remove itself.
  virtual void add(int fd, Handler handler, bool output_too = false) = 0;
  virtual void remove(int fd) = 0;

  // Submits what was queued, waits for at least one event if it `may_sleep` (with `lock` released meanwhile, taken
  // again before any handler runs) and handles all that are there.
  virtual void run_once(std::unique_lock<std::mutex>& lock, bool may_sleep = true) = 0;

  // Whether ready() can tell of events without a system call; else looking for them does not pay.
  virtual bool can_look() const noexcept { return false; }
  // run_once() has something to do and would not sleep. May miss events where it cannot look. Ring thread only.
  virtual bool ready() const noexcept = 0;
  // Lets go of `lock` and submits what was queued; no handler runs. Ring thread only.
  virtual void submit(std::unique_lock<std::mutex>& lock) { lock.unlock(); }

  // Runs `handler` once in the next run_once(), which then does not sleep but still lets go of the lock for a moment.
  // For handlers that have more to do than is fair in one turn. Ring thread only.
  virtual void post(Handler handler) = 0;

  // Makes run_once() return, the running or the next one; any thread.
  virtual void wake() = 0;

  // The ring to queue disk I/O on, or nullptr with epoll. Completions whose user_data is a Completion* are handed to it
  // in run_once(). user_data 0 is ignored; set nothing else.
  virtual io_uring* uring() noexcept { return nullptr; }
  // A free entry of uring()'s submission queue; what fills it is submitted first where it is full. Ring thread only.
  virtual io_uring_sqe* submission() { return nullptr; }
  // `may_leave` is asked with the lock held whenever something is about to be submitted, right before the system call.
  // Where it says no, what is outbound does not go: it is withdrawn, in order. An empty function: nobody asks. Ring
  // thread only.
  virtual void guard(std::function<bool()>) {}
  struct Completion {
    virtual void completed(int result) = 0;  // result as in the CQE: bytes or -errno
    // Lets something out of the guest; then withdrawn() instead, where guard() has it that nothing may leave.
    virtual bool is_outbound() const noexcept { return false; }
    virtual void withdrawn() {}

   protected:
    ~Completion() = default;
  };
};

}  // namespace kemari
