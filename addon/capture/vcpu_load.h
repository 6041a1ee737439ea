// How much of the time a guest has something to do.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <vector>

#include "unique_fd.h"

namespace kemari {

// A vCPU that is halted sleeps in the kernel: what its thread ran, and how long it waited for a processor, is what the
// guest wanted to run. Exact only while the vCPUs stand still.
class VcpuLoad {
 public:
  // `threads`: of the process, one a vCPU; some hypervisors run several vCPUs on one. What cannot be read counts as
  // busy.
  VcpuLoad(pid_t process, std::span<const pid_t> threads);

  // The guest stopped now, and went on at `resumed_ns` before (CLOCK_MONOTONIC): the share of that time for which its
  // busiest vCPU wanted to run, in [0, 1]; 1 the first time.
  double stopped(int64_t resumed_ns, int64_t now_ns);

 private:
  struct Vcpu {
    UniqueFd schedstat;  // /proc/PID/task/TID/schedstat
    int64_t wanted_ns = -1;
  };

  std::vector<Vcpu> vcpus_;
};

}  // namespace kemari
