#include "capture/process_life.h"

#include <signal.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

namespace kemari {

namespace {

constexpr uint64_t kExiting = 0x4;  // PF_EXITING of include/linux/sched.h

std::string first_thread(pid_t process) {
  const std::string number = std::to_string(process);
  return "/proc/" + number + "/task/" + number;
}

bool is_exiting(pid_t process) {
  std::ifstream file(first_thread(process) + "/stat");
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

bool is_killed(pid_t process) {
  std::ifstream file(first_thread(process) + "/status");
  std::string line;
  while (std::getline(file, line)) {
    uint64_t pending = 0;
    if (std::sscanf(line.c_str(), "SigPnd: %lx", &pending) != 1) continue;
    return (pending & (1ull << (SIGKILL - 1))) != 0;
  }
  return true;
}

}  // namespace

bool is_dying(pid_t process) {
  return is_exiting(process) || is_killed(process);
}

}  // namespace kemari
