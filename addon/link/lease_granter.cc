#include "link/lease_granter.h"

#include <utility>

#include "fault/fault.h"

namespace kemari {

LeaseGranter::LeaseGranter(UniqueFd socket, std::optional<PskSecret> secret, Options options)
    : LeaseEnd(std::move(socket), std::move(secret), false, RecordType::kRenew, options.end),
      options_(std::move(options)) {}

BootClock::time_point LeaseGranter::stop_granting() {
  const std::lock_guard lock(mutex_);
  granting_ = false;
  return granted_until_;
}

void LeaseGranter::talk() {
  heard_at_ = BootClock::now();
  for (;;) {
    const std::optional<Heard> came =
        listen(told_silent_ ? BootClock::now() + options_.takeover_timeout : runs_out_at());
    if (!came) {
      note_silence();
      continue;
    }
    if (came->is_stopped) return;
    if (came->renewal) heard(*came->renewal);
  }
}

void LeaseGranter::heard(uint64_t renewal) {
  heard_at_ = BootClock::now();
  {
    // Held while the answer goes out: once stop_granting() has returned, nothing is granted.
    const std::lock_guard lock(mutex_);
    if (granting_) {
      granted_until_ = heard_at_ + options_.lease + options_.lease / kDriftShare;
      fault_point("lease.before-answer");
      post(RecordType::kAnswer, renewal);
    }
  }
  if (std::exchange(told_silent_, false)) options_.changed(true);
}

void LeaseGranter::note_silence() {
  if (told_silent_ || BootClock::now() < runs_out_at()) return;
  told_silent_ = true;
  options_.changed(false);
}

}  // namespace kemari
