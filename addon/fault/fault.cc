#include "fault/fault.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <thread>
#include <utility>

#include "error.h"

namespace kemari {

std::atomic<uint32_t> armed_fault{0};

namespace {

constexpr int kLevelWarning = 40;  // pino's number
constexpr int64_t kNsPerMs = 1'000'000;
constexpr int64_t kMsPerS = 1000;

// For the life of the process, as the threads that pass its point.
Fault& armed() {
  static Fault& fault = *new Fault;
  return fault;
}

std::atomic<uint64_t> passes{0};

// A line of the process's log: who looks for it has to find it even when nothing else is written any more.
void announce(const Fault& fault) {
  timespec now;
  tm broken_down;
  std::array<char, sizeof "2026-01-01T00:00:00"> time{};
  KEMARI_ASSERT(::clock_gettime(CLOCK_REALTIME, &now) == 0);
  gmtime_r(&now.tv_sec, &broken_down);
  strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%S", &broken_down);
  dprintf(STDERR_FILENO,
          R"({"level":%d,"time":"%s.%03dZ","event":"fault","pid":%d,"msg":"fault at %s"})"
          "\n",
          kLevelWarning, time.data(), static_cast<int>(now.tv_nsec / kNsPerMs), getpid(), fault.point.c_str());
}

// Stops the whole process, and returns once it goes on. A signal for this thread: one for the process may stop another
// first, while this one goes on for a moment.
void stop() {
  KEMARI_ASSERT(raise(SIGSTOP) == 0);
}

// A timer's SIGCONT lets a stopped process go on. It comes again and again, should the first come before the stop.
void stall(std::chrono::milliseconds duration) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGCONT;
  timer_t timer;
  KEMARI_ASSERT(timer_create(CLOCK_BOOTTIME, &event, &timer) == 0);
  itimerspec times{};
  times.it_value = {duration.count() / kMsPerS, duration.count() % kMsPerS * kNsPerMs};
  times.it_interval = times.it_value;
  KEMARI_ASSERT(timer_settime(timer, 0, &times, nullptr) == 0);
  stop();
  KEMARI_ASSERT(timer_delete(timer) == 0);
}

void carry_out(const Fault& fault) {
  switch (fault.action) {
    case FaultAction::kKill:
      KEMARI_ASSERT(kill(getpid(), SIGKILL) == 0);
      // Not one instruction behind the point.
      while (true) pause();
    case FaultAction::kStop:
      return stop();
    case FaultAction::kStall:
      return stall(fault.duration);
    case FaultAction::kDelay:
      return std::this_thread::sleep_for(fault.duration);
  }
}

}  // namespace

void arm_fault(Fault fault) {
  KEMARI_ASSERT(armed_fault.load() == 0 && fault.pass > 0);
  const uint32_t id = fault_id(fault.point);
  armed() = std::move(fault);
  passes.store(0);
  armed_fault.store(id);
}

void pass_armed_fault() noexcept {
  const Fault& fault = armed();
  if (passes.fetch_add(1) + 1 != fault.pass) return;
  armed_fault.store(0);
  announce(fault);
  carry_out(fault);
}

}  // namespace kemari
