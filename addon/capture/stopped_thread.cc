#include "capture/stopped_thread.h"

#include <dirent.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "capture/process_maps.h"
#include "clock.h"
#include "error.h"

#if !defined(__x86_64__)
#error "registers and the system call instruction are those of x86-64"
#endif

namespace kemari {

namespace {

constexpr int64_t kStopTimeoutNs = 5'000'000'000;  // a thread in an uninterruptible wait stops when that is over
constexpr int64_t kStopPollNs = 50'000;
constexpr int kMaxSteps = 16;  // interruptions of one step that are put up with
constexpr std::string_view kSyscallInstruction = "\x0f\x05";

uint64_t signal_bit(int signal) {
  return 1ull << (signal - 1);
}

std::string task_folder(pid_t process) {
  return "/proc/" + std::to_string(process) + "/task";
}

// Blocked in a system call that another process may interrupt without harm: a futex or a poll is restarted.
bool sleeps(pid_t process, pid_t thread) {
  std::ifstream file(task_folder(process) + "/" + std::to_string(thread) + "/syscall");
  std::string number;
  file >> number;
  return number == std::to_string(SYS_futex) || number == std::to_string(SYS_ppoll);
}

pid_t choose_thread(pid_t process) {
  const std::unique_ptr<DIR, decltype([](DIR* folder) { closedir(folder); })> folder(
      opendir(task_folder(process).c_str()));
  if (!folder) fail("KEMARI_CAPTURE_GONE", "process " + std::to_string(process) + " has ended");
  pid_t chosen = 0;
  while (const dirent* entry = readdir(folder.get())) {
    const pid_t thread = std::atoi(entry->d_name);
    if (thread <= 0 || thread == process) continue;
    chosen = thread;
    if (sleeps(process, thread)) break;
  }
  if (chosen == 0) {
    fail("KEMARI_CAPTURE_ATTACH", "process " + std::to_string(process) + " has a single thread; QEMU has several");
  }
  return chosen;
}

ProcessMapping find_vdso(pid_t process) {
  for (ProcessMapping& mapping : process_mappings(process)) {
    if (mapping.name == "[vdso]") return std::move(mapping);
  }
  fail("KEMARI_CAPTURE_ATTACH", "QEMU's process has no vDSO (was Linux booted with vdso=0?)");
}

// Any of the process will do; its vDSO has some.
uint64_t find_syscall_instruction(pid_t process) {
  const ProcessMapping vdso = find_vdso(process);
  std::string code(vdso.end - vdso.start, '\0');
  const iovec here{code.data(), code.size()};
  // SAFETY: an address of the other process, which the kernel checks.
  const iovec there{reinterpret_cast<void*>(vdso.start), code.size()};
  if (process_vm_readv(process, &here, 1, &there, 1, 0) != static_cast<ssize_t>(code.size())) {
    fail_errno("KEMARI_CAPTURE_ATTACH", "process_vm_readv", "cannot read QEMU's vDSO");
  }
  const size_t found = code.find(kSyscallInstruction);
  if (found == std::string::npos) fail("KEMARI_CAPTURE_ATTACH", "QEMU's vDSO makes no system call");
  return vdso.start + found;
}

// SAFETY: ptrace takes what its request says where C has `void*`.
void* as_pointer(uint64_t value) {
  return reinterpret_cast<void*>(value);
}

}  // namespace

StoppedThread::StoppedThread(pid_t process)
    : process_(process), thread_(choose_thread(process)), syscall_address_(find_syscall_instruction(process)) {
  if (ptrace(PTRACE_SEIZE, thread_, nullptr, nullptr) != 0) failed("PTRACE_SEIZE");
  attached_ = true;
  try {
    stop();
  } catch (...) {
    let_go();
    throw;
  }
}

StoppedThread::~StoppedThread() {
  let_go();
}

void StoppedThread::failed(const char* request) const {
  if (errno == ESRCH) fail("KEMARI_CAPTURE_GONE", "process " + std::to_string(process_) + " has ended");
  fail_errno("KEMARI_CAPTURE_ATTACH", request,
             "cannot stop a thread of process " + std::to_string(process_) +
                 " for a moment; kemari needs CAP_SYS_PTRACE, and no debugger may be attached");
}

// Returns the wait status of a stop.
int StoppedThread::wait_stopped() {
  const int64_t deadline = monotonic_ns() + kStopTimeoutNs;
  while (true) {
    int status = 0;
    const pid_t found = waitpid(thread_, &status, __WALL | WNOHANG);
    if (found == thread_ && WIFSTOPPED(status)) return status;
    if (found == thread_ || (found < 0 && errno == ECHILD)) {
      attached_ = false;
      fail("KEMARI_CAPTURE_GONE", "process " + std::to_string(process_) + " ended while it was looked into");
    }
    if (monotonic_ns() > deadline) {
      fail("KEMARI_CAPTURE_ATTACH", "thread " + std::to_string(thread_) + " of process " + std::to_string(process_) +
                                        " did not stop within 5 s; see what it waits for");
    }
    const timespec pause{0, kStopPollNs};
    nanosleep(&pause, nullptr);
  }
}

void StoppedThread::stop() {
  if (ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr) != 0) failed("PTRACE_INTERRUPT");
  while (true) {
    const int status = wait_stopped();
    if (status >> 16 == PTRACE_EVENT_STOP) break;
    // A signal came first: the thread is to have it; the stop that was asked for is still due.
    if (ptrace(PTRACE_CONT, thread_, nullptr, as_pointer(WSTOPSIG(status))) != 0) failed("PTRACE_CONT");
  }
  if (ptrace(PTRACE_GETREGS, thread_, nullptr, &registers_) != 0) failed("PTRACE_GETREGS");
  if (ptrace(PTRACE_GETSIGMASK, thread_, as_pointer(sizeof signal_mask_), &signal_mask_) != 0) {
    failed("PTRACE_GETSIGMASK");
  }
  saved_ = true;
  // SIGTRAP is how a step ends; blocked it would be forced, and QEMU's handler for it be lost.
  const uint64_t mask = ~signal_bit(SIGTRAP);
  if (ptrace(PTRACE_SETSIGMASK, thread_, as_pointer(sizeof mask), &mask) != 0) failed("PTRACE_SETSIGMASK");
}

int64_t StoppedThread::call(int64_t number, uint64_t first, uint64_t second) {
  user_regs_struct registers = registers_;
  registers.rip = syscall_address_;
  registers.rax = static_cast<uint64_t>(number);
  registers.rdi = first;
  registers.rsi = second;
  // Not in a system call: what the stop interrupted is restarted with the registers of then, not with these.
  registers.orig_rax = ~0ull;
  if (ptrace(PTRACE_SETREGS, thread_, nullptr, &registers) != 0) failed("PTRACE_SETREGS");
  for (int step = 0; step < kMaxSteps; step++) {
    if (ptrace(PTRACE_SINGLESTEP, thread_, nullptr, nullptr) != 0) failed("PTRACE_SINGLESTEP");
    wait_stopped();
    if (ptrace(PTRACE_GETREGS, thread_, nullptr, &registers) != 0) failed("PTRACE_GETREGS");
    if (registers.rip == syscall_address_ + kSyscallInstruction.size()) return static_cast<int64_t>(registers.rax);
    // Stopped for another reason (SIGSTOP to the process) before the instruction.
  }
  fail("KEMARI_CAPTURE_ATTACH",
       "a thread of process " + std::to_string(process_) +
           " does not get to make a system call; is the process being stopped again and again?");
}

// What fails here fails because the process is gone.
void StoppedThread::let_go() noexcept {
  if (!attached_) return;
  if (saved_) {
    ptrace(PTRACE_SETSIGMASK, thread_, as_pointer(sizeof signal_mask_), &signal_mask_);
    ptrace(PTRACE_SETREGS, thread_, nullptr, &registers_);
  }
  ptrace(PTRACE_DETACH, thread_, nullptr, nullptr);
  attached_ = false;
}

}  // namespace kemari
