#include "link/lease_granter.h"

#include <utility>

#include "fault/fault.h"
#include "link/lease_clock.h"
#include "link/thread_priority.h"

namespace kemari {

LeaseGranter::LeaseGranter(UniqueFd socket, std::optional<PskSecret> secret, Options options)
    : connection_(std::move(socket), std::move(secret), false), options_(std::move(options)) {}

LeaseGranter::~LeaseGranter() {
  stop();
}

void LeaseGranter::start() {
  thread_ = std::thread([this] { run(); });
}

void LeaseGranter::stop() {
  connection_.stop();
  if (thread_.joinable()) thread_.join();
}

BootClock::time_point LeaseGranter::stop_granting() {
  const std::lock_guard lock(mutex_);
  granting_ = false;
  return granted_until_;
}

void LeaseGranter::run() {
  prefer_this_thread(kLeaseNice);
  try {
    if (!connection_.secure(options_.connect_by)) return;
  } catch (const Error& error) {
    return options_.refused(error);
  }
  options_.secured();
  heard_at_ = BootClock::now();
  try {
    grant();
  } catch (const Error&) {
    // A connection that ended proves nothing about the primary: it counts as silence.
    if (connection_.rest(waiting_until(heard_at_ + options_.takeover_timeout))) note_silence();
  }
  connection_.say_end();
}

void LeaseGranter::grant() {
  for (;;) {
    const BootClock::time_point wake =
        told_silent_ ? BootClock::now() + options_.takeover_timeout : heard_at_ + options_.takeover_timeout;
    // Looks at the connection before it waits, so that a renewal which came while this process stood still is heard.
    const std::optional<size_t> count = connection_.read(inbox_.room(), waiting_until(wake));
    if (!count) {
      note_silence();
      continue;
    }
    if (*count == 0) return;  // stopped
    if (const std::optional<uint64_t> renewal = inbox_.take(*count)) heard(*renewal);
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
      connection_.post(lease_message(RecordType::kAnswer, renewal));
    }
  }
  if (std::exchange(told_silent_, false)) options_.changed(true);
}

void LeaseGranter::note_silence() {
  if (told_silent_ || BootClock::now() < heard_at_ + options_.takeover_timeout) return;
  told_silent_ = true;
  options_.changed(false);
}

}  // namespace kemari
