// The event loop where io_uring is refused: edge-triggered epoll.
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "error.h"
#include "ring/event_loop_kinds.h"
#include "ring/event_loop_watch.h"
#include "unique_fd.h"

namespace kemari {

namespace {

constexpr uint64_t kWakeTag = UINT64_MAX;
constexpr int kMaxEventsPerTurn = 64;

class EpollLoop final : public EventLoop {
 public:
  EpollLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!epoll_.valid()) fail_errno("KEMARI_EVENT_LOOP", "epoll_create1", "cannot create an event loop");
    if (!wake_.valid()) fail_errno("KEMARI_EVENT_LOOP", "eventfd", "cannot create an event loop");
    control(EPOLL_CTL_ADD, wake_.get(), EPOLLIN | EPOLLET, kWakeTag);
  }

  void add(int fd, Handler handler, bool output_too) override {
    const uint64_t tag = watches_.insert(fd, std::move(handler), output_too);
    try {
      control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET | (output_too ? EPOLLOUT : 0u), tag);
    } catch (...) {
      watches_.erase(fd);
      throw;
    }
  }

  void remove(int fd) override {
    watches_.erase(fd);
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  }

  void post(Handler handler) override { posted_.post(std::move(handler)); }

  bool ready() const noexcept override { return !posted_.empty(); }

  void run_once(std::unique_lock<std::mutex>& lock, bool may_sleep) override {
    std::array<epoll_event, kMaxEventsPerTurn> events;
    const int timeout_ms = may_sleep && posted_.empty() ? -1 : 0;
    lock.unlock();
    int count = epoll_wait(epoll_.get(), events.data(), kMaxEventsPerTurn, timeout_ms);
    const int error_number = errno;
    lock.lock();
    if (count < 0) {
      if (error_number != EINTR) fail_errno("KEMARI_EVENT_LOOP", "epoll_wait", "cannot wait for events", error_number);
      count = 0;
    }
    posted_.run();
    for (int i = 0; i < count; i++) {
      // Edge-triggered, so the wake counter need not be read: each write to it is an edge.
      if (events[i].data.u64 == kWakeTag) continue;
      if (const WatchTable::Watch* watch = watches_.find(events[i].data.u64)) {
        const std::shared_ptr<Handler> handler = watch->handler;
        (*handler)();
      }
    }
  }

  void wake() override {
    const uint64_t one = 1;
    // Fails only where the counter is full, that is, where a wake is under way already.
    if (write(wake_.get(), &one, sizeof one) < 0) return;
  }

 private:
  void control(int operation, int fd, uint32_t events, uint64_t tag) {
    epoll_event event{events, {}};
    event.data.u64 = tag;
    if (epoll_ctl(epoll_.get(), operation, fd, &event) != 0) {
      fail_errno("KEMARI_EVENT_LOOP", "epoll_ctl", "cannot watch a file descriptor");
    }
  }

  UniqueFd epoll_;
  UniqueFd wake_;
  WatchTable watches_;
  PostedHandlers posted_;
};

}  // namespace

std::unique_ptr<EventLoop> create_epoll_loop() {
  return std::make_unique<EpollLoop>();
}

}  // namespace kemari
