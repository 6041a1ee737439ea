// The primary's side of the lease: renews it on a connection of its own, on a thread of its own.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "link/boot_clock.h"
#include "link/lease_end.h"

namespace kemari {

class LeaseHolder final : public LeaseEnd {
 public:
  struct Options {
    std::chrono::nanoseconds lease;
    LeaseEnd::Options end;
    // Outputs may leave until then: send time of the answered renewal plus the lease. Never goes back.
    std::function<void(BootClock::time_point until)> renewed;
    std::function<void(bool valid)> changed;
  };

  LeaseHolder(UniqueFd socket, std::optional<PskSecret> secret, Options options);
  ~LeaseHolder() override { stop(); }

  bool is_valid() const noexcept { return BootClock::now() < until_.load(); }
  // The shortest; 0 before the first answer.
  std::chrono::nanoseconds round_trip() const noexcept { return round_trip_.load(); }

 private:
  static constexpr uint64_t kMaxUnanswered = 64;
  static constexpr int kRenewalsPerLease = 4;

  void talk() override;
  BootClock::time_point runs_out_at() const override { return until(); }
  void has_run_out() override { note_expiry(); }
  void renew();
  void answered(uint64_t renewal);
  void note_expiry();
  BootClock::time_point until() const noexcept { return until_.load(); }

  const Options options_;
  std::array<BootClock::time_point, kMaxUnanswered> sent_at_{};  // by renewal number
  uint64_t sent_ = 0;
  uint64_t answered_ = 0;
  std::atomic<BootClock::time_point> until_{BootClock::time_point{}};
  std::atomic<std::chrono::nanoseconds> round_trip_{std::chrono::nanoseconds{0}};
  bool told_valid_ = false;
};

}  // namespace kemari
