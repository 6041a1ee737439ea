#include "link/lease_holder.h"

#include <algorithm>
#include <utility>

#include "fault/fault.h"
#include "link/lease_clock.h"
#include "link/thread_priority.h"

namespace kemari {

LeaseHolder::LeaseHolder(UniqueFd socket, std::optional<PskSecret> secret, Options options)
    : connection_(std::move(socket), std::move(secret), true), options_(std::move(options)) {}

LeaseHolder::~LeaseHolder() {
  stop();
}

void LeaseHolder::start() {
  thread_ = std::thread([this] { run(); });
}

void LeaseHolder::stop() {
  connection_.stop();
  if (thread_.joinable()) thread_.join();
}

void LeaseHolder::run() {
  prefer_this_thread(kLeaseNice);
  try {
    if (!connection_.secure(options_.connect_by)) return;
  } catch (const Error& error) {
    return options_.refused(error);
  }
  options_.secured();
  try {
    hold();
  } catch (const Error&) {
    // What a lost connection means is known when the lease runs out.
    if (connection_.rest(waiting_until(until()))) note_expiry();
  }
  connection_.say_end();
}

void LeaseHolder::hold() {
  BootClock::time_point next_renewal = BootClock::now();
  for (;;) {
    if (BootClock::now() >= next_renewal) {
      renew();
      // From now, not from when it was due: what was missed is not made up for.
      next_renewal = BootClock::now() + options_.lease / kRenewalsPerLease;
    }
    note_expiry();
    const BootClock::time_point wake = told_valid_ ? std::min(next_renewal, until()) : next_renewal;
    const std::optional<size_t> count = connection_.read(inbox_.room(), waiting_until(wake));
    if (!count) continue;
    if (*count == 0) return;  // stopped
    if (const std::optional<uint64_t> renewal = inbox_.take(*count)) answered(*renewal);
  }
}

void LeaseHolder::renew() {
  if (sent_ - answered_ == kMaxUnanswered) return;  // nobody answers: the lease has run out long ago
  sent_++;
  sent_at_[sent_ % kMaxUnanswered] = BootClock::now();  // before it is sent: the lease may only be shorter for it
  fault_point("lease.before-renewal");
  connection_.post(lease_message(RecordType::kRenew, sent_));
}

void LeaseHolder::answered(uint64_t renewal) {
  if (renewal > sent_) fail("KEMARI_LINK_PROTOCOL", "the peer answered a renewal that was not sent");
  fault_point("lease.answered");
  answered_ = renewal;
  const BootClock::time_point sent_at = sent_at_[renewal % kMaxUnanswered];
  round_trip_ = BootClock::now() - sent_at;
  if (sent_at + options_.lease <= until()) return;
  until_ = sent_at + options_.lease;
  options_.renewed(until());
  if (!told_valid_ && is_valid()) {
    told_valid_ = true;
    options_.changed(true);
  }
}

void LeaseHolder::note_expiry() {
  if (!told_valid_ || is_valid()) return;
  told_valid_ = false;
  options_.changed(false);
}

}  // namespace kemari
