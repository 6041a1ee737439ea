// The standby's side of the lease: answers renewals while it grants, and knows when the primary was last heard.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "error.h"
#include "link/boot_clock.h"
#include "link/connection.h"
#include "link/lease_message.h"

namespace kemari {

class LeaseGranter {
 public:
  struct Options {
    std::chrono::nanoseconds lease;
    std::chrono::nanoseconds takeover_timeout;  // longer than the lease
    LinkClock::time_point connect_by;
    std::function<void()> secured;
    // The connection could not be secured. One that fails later is silence.
    std::function<void(const Error&)> refused;
    std::function<void(bool heard)> changed;  // false: nothing was heard for the takeover timeout
  };

  LeaseGranter(UniqueFd socket, std::optional<PskSecret> secret, Options options);
  ~LeaseGranter();  // stops

  void start();
  void stop();

  // Answers no renewal from here on. Returns when the last one that was answered is over: the primary's lease runs from
  // the time it sent the renewal, which is before it came here.
  BootClock::time_point stop_granting();

 private:
  // Two hosts' clocks do not run alike: one part in this many is far more than they may differ.
  static constexpr int kDriftShare = 128;

  void run();
  void grant();
  void heard(uint64_t renewal);
  void note_silence();

  Connection connection_;
  Options options_;
  LeaseInbox inbox_{RecordType::kRenew};
  BootClock::time_point heard_at_{};
  bool told_silent_ = false;
  std::mutex mutex_;  // of what follows
  bool granting_ = true;
  BootClock::time_point granted_until_{};
  std::thread thread_;
};

}  // namespace kemari
