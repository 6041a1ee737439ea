// The table of watched descriptors that both event loops keep. An entry's tag names its place and its generation, so
// that a late event of a descriptor that was removed (its number may be in use again) finds nobody.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "error.h"
#include "ring/event_loop.h"

namespace kemari {

class WatchTable {
 public:
  struct Watch {
    int fd = -1;
    uint32_t generation = 0;
    bool output_too = false;
    std::shared_ptr<EventLoop::Handler> handler;  // shared: it may remove itself while it runs
  };

  // Tags are below 2^63 and never 0.
  uint64_t insert(int fd, EventLoop::Handler handler, bool output_too) {
    KEMARI_ASSERT(places_.count(fd) == 0);
    uint32_t place;
    if (free_.empty()) {
      place = static_cast<uint32_t>(watches_.size());
      watches_.emplace_back();
    } else {
      place = free_.back();
      free_.pop_back();
    }
    Watch& watch = watches_[place];
    watch.fd = fd;
    watch.generation = watch.generation % kMaxGeneration + 1;
    watch.output_too = output_too;
    watch.handler = std::make_shared<EventLoop::Handler>(std::move(handler));
    places_[fd] = place;
    return tag(place);
  }

  // Returns the tag that the removed watch had.
  uint64_t erase(int fd) {
    const auto found = places_.find(fd);
    KEMARI_ASSERT(found != places_.end());
    const uint32_t place = found->second;
    places_.erase(found);
    watches_[place].fd = -1;
    watches_[place].handler.reset();
    free_.push_back(place);
    return tag(place);
  }

  // The watch with this tag, or nullptr when it was removed since.
  Watch* find(uint64_t tag) {
    const auto place = static_cast<uint32_t>(tag);
    if (place >= watches_.size()) return nullptr;
    Watch& watch = watches_[place];
    return watch.fd >= 0 && watch.generation == tag >> kPlaceBits ? &watch : nullptr;
  }

 private:
  static constexpr unsigned kPlaceBits = 32;
  static constexpr uint32_t kMaxGeneration = 0x3fffffff;

  uint64_t tag(uint32_t place) const { return uint64_t{watches_[place].generation} << kPlaceBits | place; }

  std::vector<Watch> watches_;
  std::vector<uint32_t> free_;
  std::unordered_map<int, uint32_t> places_;  // by descriptor
};

// Handlers for the next turn, see EventLoop::post().
class PostedHandlers {
 public:
  void post(EventLoop::Handler handler) { posted_.push_back(std::move(handler)); }
  bool empty() const noexcept { return posted_.empty(); }
  // Runs what was posted before this call; what that posts stays for the next turn.
  void run() {
    if (posted_.empty()) return;
    running_.swap(posted_);
    for (EventLoop::Handler& handler : running_) handler();
    running_.clear();
  }

 private:
  std::vector<EventLoop::Handler> posted_;
  std::vector<EventLoop::Handler> running_;
};

}  // namespace kemari
