#include "capture/vcpu_load.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

namespace kemari {

namespace {

// "RAN WAITED SLICES", times in nanoseconds (the kernel's Documentation/scheduler/sched-stats.rst). -1: not to be had.
int64_t read_wanted_ns(int fd) {
  constexpr size_t kLongest = 64;
  std::array<char, kLongest> text;
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  if (got <= 0) return -1;
  const char* const end = text.data() + got;
  int64_t ran = 0;
  const auto after_ran = std::from_chars(text.data(), end, ran);
  if (after_ran.ec != std::errc() || after_ran.ptr == end) return -1;
  int64_t waited = 0;
  if (std::from_chars(after_ran.ptr + 1, end, waited).ec != std::errc()) return -1;
  return ran + waited;
}

}  // namespace

VcpuLoad::VcpuLoad(pid_t process, std::span<const pid_t> threads) {
  for (const pid_t thread : threads) {
    const std::string path = "/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) + "/schedstat";
    vcpus_.push_back({.schedstat = UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC))});
  }
}

double VcpuLoad::stopped(int64_t resumed_ns, int64_t now_ns) {
  double busiest = vcpus_.empty() ? 1 : 0;
  for (Vcpu& vcpu : vcpus_) {
    const int64_t before_ns = vcpu.wanted_ns;
    vcpu.wanted_ns = read_wanted_ns(vcpu.schedstat.get());
    const bool known = before_ns >= 0 && vcpu.wanted_ns >= 0 && now_ns > resumed_ns;
    const double share =
        known ? static_cast<double>(vcpu.wanted_ns - before_ns) / static_cast<double>(now_ns - resumed_ns) : 1;
    busiest = std::max(busiest, share);
  }
  return std::min(busiest, 1.0);
}

}  // namespace kemari
