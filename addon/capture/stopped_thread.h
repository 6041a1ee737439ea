// System calls made inside another process: one of its threads is stopped (ptrace), made to call, and put back.
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <cstdint>
#include <string>

namespace kemari {

// A thread of another process, stopped for as long as this lives. Everything happens on the thread that constructs it:
// a tracer is a thread, not a process. While it is stopped, signals other than SIGKILL wait.
//
// The thread is never the process's first one. A process whose parent we are is waited for elsewhere in ours (libuv, on
// SIGCHLD), by its id, and would be taken for one that has ended.
class StoppedThread {
 public:
  // Throws KEMARI_CAPTURE_ATTACH, or KEMARI_CAPTURE_GONE when the process has ended.
  explicit StoppedThread(pid_t process);
  ~StoppedThread();
  StoppedThread(const StoppedThread&) = delete;
  StoppedThread& operator=(const StoppedThread&) = delete;

  // Makes it call; returns what the kernel would return there: a value, or -errno. For calls that do not block and
  // take no pointer. Throws as the constructor.
  int64_t call(int64_t number, uint64_t first, uint64_t second = 0);

 private:
  [[noreturn]] void failed(const char* request) const;
  int wait_stopped();
  void stop();
  void let_go() noexcept;

  pid_t process_;
  pid_t thread_;
  uint64_t syscall_address_;  // of a `syscall` instruction in the process
  bool attached_ = false;
  bool saved_ = false;
  user_regs_struct registers_{};
  uint64_t signal_mask_ = 0;
};

}  // namespace kemari
