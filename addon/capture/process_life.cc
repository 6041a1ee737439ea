#include "capture/process_life.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

namespace kemari {

namespace {

constexpr uint64_t kExiting = 0x4;  // PF_EXITING of include/linux/sched.h

// Ten seconds, at least: a thread that is to sleep gets a CPU by then.
constexpr useconds_t kSleepPollUs = 50;
constexpr int kSleepTries = 200'000;

std::string first_thread(pid_t process) {
  const std::string number = std::to_string(process);
  return "/proc/" + number + "/task/" + number;
}

}  // namespace

ProcessLife::ProcessLife(pid_t process)
    : process_(process), system_call_(open((first_thread(process) + "/syscall").c_str(), O_RDONLY | O_CLOEXEC)) {}

bool ProcessLife::is_exiting() const {
  std::ifstream file(first_thread(process_) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return true;
  // After the command in parentheses, which may itself hold any character: the state, five numbers, the flags
  // (proc(5)).
  const size_t command_end = line.rfind(')');
  if (command_end == std::string::npos) return true;
  std::istringstream fields(line.substr(command_end + 1));
  char state = 0;
  int64_t skipped = 0;
  uint64_t flags = 0;
  constexpr int kNumbersBeforeFlags = 5;
  fields >> state;
  for (int i = 0; i < kNumbersBeforeFlags; i++) fields >> skipped;
  fields >> flags;
  return !fields || state == 'Z' || state == 'X' || (flags & kExiting) != 0;
}

bool ProcessLife::is_killed() const {
  std::ifstream file(first_thread(process_) + "/status");
  std::string line;
  while (std::getline(file, line)) {
    uint64_t pending = 0;
    if (std::sscanf(line.c_str(), "SigPnd: %lx", &pending) != 1) continue;
    return (pending & (1ull << (SIGKILL - 1))) != 0;
  }
  return true;
}

bool ProcessLife::is_closing() const {
  for (int tries = 0; tries < kSleepTries; tries++) {
    std::array<char, 32> text{};
    // Begins with the number of the system call that the thread sleeps in, -1 where it sleeps in none.
    if (pread(system_call_.get(), text.data(), text.size() - 1, 0) <= 0) return false;
    long number = -1;
    if (std::sscanf(text.data(), "%ld", &number) == 1) return number == SYS_close;
    // "running": it has asked and is about to sleep until we answer, and where CPUs are few it may be about to for
    // long.
    if (is_exiting()) return false;
    usleep(kSleepPollUs);
  }
  return false;
}

bool ProcessLife::is_dying() const {
  return is_exiting() || is_killed();
}

}  // namespace kemari
