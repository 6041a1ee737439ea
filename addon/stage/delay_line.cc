#include "stage/delay_line.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <optional>

#include "clock.h"
#include "error.h"

namespace kemari {

namespace {

constexpr size_t kLongestFrame = 65536 + 64;
// Beyond this nothing is taken: the interface's own queue fills, and then drops, as a router's would.
constexpr size_t kMaxQueuedBytes = 64 << 20;
constexpr unsigned kFramesAtOnce = 64;
constexpr int64_t kNsPerSecond = 1'000'000'000;
// Frames pass as they are, without being cut or summed up on the way.
constexpr unsigned kOffload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

// A thread of its own enters the namespace, so that no other ever leaves its own.
Tap make_tap(const DelayLine::End& end, uint8_t number) {
  std::optional<Tap> made;
  std::exception_ptr failure;
  std::thread([&] {
    try {
      const UniqueFd space(::open(end.namespace_path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!space.valid()) fail_errno("KEMARI_NET_TAP", "open", "cannot open " + end.namespace_path);
      if (::setns(space.get(), CLONE_NEWNET) != 0) {
        fail_errno("KEMARI_NET_TAP", "setns", "cannot enter " + end.namespace_path);
      }
      made.emplace(Tap::Options{
          .name = end.device, .bridge = {}, .queues = 1, .guest_mac = {2, 0, 0, 0, 0, number}, .up = false});
      made->configure(made->header_bytes(), kOffload);
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
  return std::move(*made);
}

}  // namespace

DelayLine::DelayLine(const End& near, const End& far, int64_t delay_ns)
    : delay_ns_(delay_ns),
      near_(make_tap(near, 1)),
      far_(make_tap(far, 2)),
      ways_{Way{&near_, &far_, {}, 0}, Way{&far_, &near_, {}, 0}},
      room_(kLongestFrame),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_.valid()) fail_errno("KEMARI_NET_TAP", "eventfd", "cannot make the thread of a long cable");
  thread_ = std::thread([this] { run(); });
}

DelayLine::~DelayLine() {
  close();
}

void DelayLine::close() noexcept {
  closing_ = true;
  const uint64_t one = 1;
  KEMARI_ASSERT(write(wake_.get(), &one, sizeof one) == sizeof one);
  if (thread_.joinable()) thread_.join();
  near_.close();
  far_.close();
}

void DelayLine::run() {
  pthread_setname_np(pthread_self(), "kemari-cable");
  prctl(PR_SET_TIMERSLACK, 1);  // else frames come in lots of 50 us
  while (!closing_) {
    for (Way& way : ways_) {
      take(way);
      give(way);
    }
    wait();
  }
}

void DelayLine::take(Way& way) {
  for (unsigned taken = 0; taken < kFramesAtOnce && way.queued_bytes < kMaxQueuedBytes; taken++) {
    const ssize_t size = read(way.from->fd(0), room_.data(), room_.size());
    if (size <= 0) return;  // nothing there, or the interface is down or gone
    way.frames.push_back({monotonic_ns() + delay_ns_, {room_.begin(), room_.begin() + size}});
    way.queued_bytes += static_cast<size_t>(size);
  }
}

void DelayLine::give(Way& way) {
  while (!way.frames.empty() && way.frames.front().due_ns <= monotonic_ns()) {
    const std::vector<uint8_t>& bytes = way.frames.front().bytes;
    // An end that is down, or takes no more, loses it, as a cable would.
    static_cast<void>(!write(way.to->fd(0), bytes.data(), bytes.size()));
    way.queued_bytes -= bytes.size();
    way.frames.pop_front();
  }
}

void DelayLine::wait() {
  const auto wanted = [](const Way& way) {
    return pollfd{way.queued_bytes < kMaxQueuedBytes ? way.from->fd(0) : -1, POLLIN, 0};
  };
  std::array<pollfd, 3> fds{wanted(ways_[0]), wanted(ways_[1]), pollfd{wake_.get(), POLLIN, 0}};
  std::optional<int64_t> due_ns;
  for (const Way& way : ways_) {
    if (!way.frames.empty()) due_ns = std::min(due_ns.value_or(way.frames.front().due_ns), way.frames.front().due_ns);
  }
  if (!due_ns) {
    ppoll(fds.data(), fds.size(), nullptr, nullptr);
    return;
  }
  const int64_t left = std::max<int64_t>(0, *due_ns - monotonic_ns());
  const timespec timeout{left / kNsPerSecond, left % kNsPerSecond};
  ppoll(fds.data(), fds.size(), &timeout, nullptr);
}

}  // namespace kemari
