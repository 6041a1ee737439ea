// Named faults, for drills: a process that is told so by its environment dies, stops or stalls at a point which it
// passes. Their names are in src/base/fault-points.ts, what can happen there in src/base/fault.ts.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace kemari {

// FNV-1a (32 bits) of a point's name: what stands in the code that passes it is a number.
constexpr uint32_t fault_id(std::string_view name) noexcept {
  uint32_t id = 2166136261u;
  for (const char letter : name) id = (id ^ static_cast<uint8_t>(letter)) * 16777619u;
  return id;
}

// A point by its name, which must be a literal: the compiler makes the number.
class FaultPoint {
 public:
  consteval FaultPoint(const char* name) : id_(fault_id(name)) {}
  uint32_t id() const noexcept { return id_; }

 private:
  uint32_t id_;
};

enum class FaultAction : uint8_t {
  kKill = 1,   // SIGKILL
  kStop = 2,   // SIGSTOP: somebody else has to let the process go on
  kStall = 3,  // the whole process stands still for a time
  kDelay = 4,  // the thread that passes the point sleeps for a time
};

// What is to happen, the `pass`th time (from 1) that the point is passed. Once.
struct Fault {
  std::string point;
  FaultAction action = FaultAction::kKill;
  std::chrono::milliseconds duration{};
  uint64_t pass = 1;
};

// The point that is not passed in peace; 0: none. Written by arm_fault() only.
extern std::atomic<uint32_t> armed_fault;

// Once a process, before it has threads that pass points.
void arm_fault(Fault fault);

// Somebody is at the armed point: counts, and does it when it is time.
void pass_armed_fault() noexcept;

// Here a process may be told to fail. Costs a load and a branch that is never taken.
inline void fault_point(FaultPoint point) noexcept {
  if (armed_fault.load(std::memory_order_relaxed) == point.id()) [[unlikely]]
    pass_armed_fault();
}

// For what is only done in small steps where a fault lies between them.
inline bool is_armed(FaultPoint point) noexcept {
  return armed_fault.load(std::memory_order_relaxed) == point.id();
}

}  // namespace kemari
