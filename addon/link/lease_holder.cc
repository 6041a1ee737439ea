#include "link/lease_holder.h"

#include <algorithm>
#include <utility>

#include "fault/fault.h"

namespace kemari {

LeaseHolder::LeaseHolder(UniqueFd socket, std::optional<PskSecret> secret, Options options)
    : LeaseEnd(std::move(socket), std::move(secret), true, RecordType::kAnswer, options.end),
      options_(std::move(options)) {}

void LeaseHolder::talk() {
  BootClock::time_point next_renewal = BootClock::now();
  for (;;) {
    if (BootClock::now() >= next_renewal) {
      renew();
      // From now, not from when it was due: what was missed is not made up for.
      next_renewal = BootClock::now() + options_.lease / kRenewalsPerLease;
    }
    note_expiry();
    const std::optional<Heard> came = listen(told_valid_ ? std::min(next_renewal, until()) : next_renewal);
    if (!came) continue;
    if (came->is_stopped) return;
    if (came->renewal) answered(*came->renewal);
  }
}

void LeaseHolder::renew() {
  if (sent_ - answered_ == kMaxUnanswered) return;  // nobody answers: the lease has run out long ago
  sent_++;
  sent_at_[sent_ % kMaxUnanswered] = BootClock::now();  // before it is sent: the lease may only be shorter for it
  fault_point("lease.before-renewal");
  post(RecordType::kRenew, sent_);
}

void LeaseHolder::answered(uint64_t renewal) {
  if (renewal > sent_) fail("KEMARI_LINK_PROTOCOL", "the peer answered a renewal that was not sent");
  fault_point("lease.answered");
  answered_ = renewal;
  const BootClock::time_point sent_at = sent_at_[renewal % kMaxUnanswered];
  const std::chrono::nanoseconds took = BootClock::now() - sent_at;
  if (round_trip() == std::chrono::nanoseconds::zero() || took < round_trip()) round_trip_ = took;
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
