// What the two ends of a link tell their owner.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "link/record.h"
#include "link/send_times.h"

namespace kemari {

struct LinkEvent {
  enum class Type : uint8_t { kConnected, kAcked, kCommitted, kWord, kLease, kSilent, kHeard, kLost };

  Type type;
  uint64_t epoch = 0;  // kAcked, kCommitted
  uint64_t pages = 0;  // kCommitted
  uint64_t bytes = 0;  // kCommitted
  Word word = Word{};  // kWord
  bool valid = false;  // kLease
  // kCommitted: the epoch has disk writes of which the primary may have any with its storage.
  bool writes_pending = false;
  bool guest_paused = false;      // kCommitted
  std::optional<EpochWay> way{};  // kAcked, where it is known
  std::string code{};             // kLost
  std::string text{};             // kWord, kLost
};

// Called from the link's threads; must not block. False: too much waits to be heard already, and the event is dropped;
// a peer that says more than this side can hear loses the link. kLost is never dropped.
using LinkListener = std::function<bool(LinkEvent)>;

}  // namespace kemari
