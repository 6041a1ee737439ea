// The standby's side of the lease: answers renewals while it grants, and knows when the primary was last heard.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include "link/boot_clock.h"
#include "link/lease_end.h"

namespace kemari {

class LeaseGranter final : public LeaseEnd {
 public:
  struct Options {
    std::chrono::nanoseconds lease;
    std::chrono::nanoseconds takeover_timeout;  // longer than the lease
    LeaseEnd::Options end;
    std::function<void(bool heard)> changed;  // false: nothing was heard for the takeover timeout
  };

  LeaseGranter(UniqueFd socket, std::optional<PskSecret> secret, Options options);
  ~LeaseGranter() override { stop(); }

  // Answers no renewal from here on. Returns when the last one that was answered is over: the primary's lease runs from
  // the time it sent the renewal, which is before it came here.
  BootClock::time_point stop_granting();

 private:
  // Two hosts' clocks do not run alike: one part in this many is far more than they may differ.
  static constexpr int kDriftShare = 128;

  void talk() override;
  BootClock::time_point runs_out_at() const override { return heard_at_ + options_.takeover_timeout; }
  void has_run_out() override { note_silence(); }
  void heard(uint64_t renewal);
  void note_silence();

  const Options options_;
  BootClock::time_point heard_at_{};
  bool told_silent_ = false;
  std::mutex mutex_;  // of what follows
  bool granting_ = true;
  BootClock::time_point granted_until_{};
};

}  // namespace kemari
