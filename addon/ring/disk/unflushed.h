// What a storage server that crashes would lose: it keeps what it has answered until a flush, and its crash looks like
// a connection that was lost. So once a connection has ended, the next flush that is to reach any of that fails, once,
// as on a disk that could not write its cache back.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ring/ring_state.h"

namespace kemari {

class Unflushed {
 public:
  // A change was answered that is not durable yet.
  void answered() noexcept { answered_ += 1; }

  // How many were until now: what a flush that comes now has to reach.
  uint64_t now() const noexcept { return answered_; }

  // A flush ended that came when now() was `covered`: it has reached them, or the guest knows that it has not.
  void settle(uint64_t covered) noexcept { settled_ = std::max(settled_, covered); }

  // The server is gone, with whatever it had not written.
  void connection_ended() noexcept { lost_ = answered_; }

  // Changes that may be lost without the guest's knowing it.
  uint64_t lost() const noexcept { return lost_ > settled_ ? lost_ - settled_ : 0; }

  UnflushedChanges to_cut() const noexcept {
    const auto bounded = [](uint64_t count) { return static_cast<uint32_t>(std::min<uint64_t>(count, UINT32_MAX)); };
    return {.changes = bounded(answered_ - settled_), .lost = bounded(lost())};
  }

  void go_on_from(const UnflushedChanges& cut) noexcept {
    settled_ = 0;
    answered_ = cut.changes;
    lost_ = cut.lost;
  }

 private:
  uint64_t answered_ = 0;
  uint64_t settled_ = 0;
  uint64_t lost_ = 0;  // of the first `answered_`
};

}  // namespace kemari
