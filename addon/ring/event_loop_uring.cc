// The event loop on io_uring: polls, wake-ups and disk I/O are submitted and waited for in one system call.
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "error.h"
#include "ring/event_loop_kinds.h"
#include "ring/event_loop_watch.h"
#include "unique_fd.h"

// Flags newer than the liburing headers of Debian 12; the kernel says at run time whether it knows them.
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

namespace kemari {

namespace {

constexpr unsigned kSubmissionEntries = 512;
constexpr unsigned kCompletionEntries = 4096;
constexpr unsigned kMaxCompletionsPerTurn = 256;

// user_data: 0 is ignored; odd is a watch, tag << 1 | 1; even is a Completion*.
constexpr uint64_t kWatchBit = 1;
constexpr uint64_t kWakeData = UINT64_MAX;
constexpr uint64_t watch_data(uint64_t tag) {
  return tag << 1 | kWatchBit;
}

class UringLoop final : public EventLoop {
 public:
  // False: the kernel has no io_uring for us.
  bool open() {
    wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_.valid()) fail_errno("KEMARI_EVENT_LOOP", "eventfd", "cannot create an event loop");
    // The best first. DEFER_TASKRUN runs completions where we wait instead of interrupting us; it binds the ring to
    // one thread, hence disabled until enter_thread(). TASKRUN_FLAG tells ready() of them.
    constexpr unsigned kDeferred =
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED;
    constexpr unsigned kCooperative = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    for (const unsigned flags : {kDeferred, kCooperative, 0u}) {
      io_uring_params params{};
      params.flags = flags | IORING_SETUP_CQSIZE;
      params.cq_entries = kCompletionEntries;
      if (io_uring_queue_init_params(kSubmissionEntries, &ring_, &params) == 0) {
        open_ = true;
        can_look_ = (flags & IORING_SETUP_TASKRUN_FLAG) != 0;
        disabled_ = (flags & IORING_SETUP_R_DISABLED) != 0;
        poll(wake_.get(), POLLIN, kWakeData);
        return true;
      }
    }
    return false;
  }

  ~UringLoop() override {
    if (open_) io_uring_queue_exit(&ring_);
  }

  void enter_thread() override {
    if (!std::exchange(disabled_, false)) return;
    // The shared liburing of Debian 12 does not export io_uring_enable_rings(), though its header has it.
    if (syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) != 0) {
      fail_errno("KEMARI_EVENT_LOOP", "io_uring_register", "cannot enable the ring");
    }
  }

  void add(int fd, Handler handler, bool output_too) override {
    arm(fd, watches_.insert(fd, std::move(handler), output_too), output_too);
  }

  void remove(int fd) override {
    io_uring_sqe* sqe = submission();
    io_uring_prep_poll_remove(sqe, watch_data(watches_.erase(fd)));
    io_uring_sqe_set_data64(sqe, 0);
  }

  void post(Handler handler) override { posted_.post(std::move(handler)); }

  bool can_look() const noexcept override { return can_look_; }

  // Completions that the kernel has for us are in the queue, or wait, as the flag says, for us to enter.
  bool ready() const noexcept override {
    if (!posted_.empty() || io_uring_cq_ready(&ring_) != 0) return true;
    return (__atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
  }

  void submit(std::unique_lock<std::mutex>& lock) override {
    withdraw_unless_allowed();
    lock.unlock();
    if (io_uring_sq_ready(&ring_) != 0) check_submitted(io_uring_submit(&ring_));
  }

  void run_once(std::unique_lock<std::mutex>& lock, bool may_sleep) override {
    const unsigned wanted = may_sleep && posted_.empty() ? 1 : 0;
    withdraw_unless_allowed();
    lock.unlock();
    const int result = wanted == 0 ? io_uring_submit_and_get_events(&ring_) : io_uring_submit_and_wait(&ring_, wanted);
    lock.lock();
    check_submitted(result);
    posted_.run();
    handle_completions();
  }

  void wake() override {
    const uint64_t one = 1;
    // Fails only where the counter is full, that is, where a wake is under way already.
    if (write(wake_.get(), &one, sizeof one) < 0) return;
  }

  io_uring* uring() noexcept override { return &ring_; }

  io_uring_sqe* submission() override {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {
      // A disabled ring cannot submit: nothing queues that much before its thread runs.
      KEMARI_ASSERT(!disabled_);
      withdraw_unless_allowed();
      check_submitted(io_uring_submit(&ring_));
      sqe = io_uring_get_sqe(&ring_);
    }
    return sqe;
  }

  void guard(std::function<bool()> may_leave) override { may_leave_ = std::move(may_leave); }

 private:
  void withdraw_unless_allowed() {
    // Whoever is withdrawn may queue others in its place.
    while (may_leave_ && io_uring_sq_ready(&ring_) != 0 && !may_leave_()) {
      if (!withdraw()) return;
    }
  }

  // Turns what is outbound and the kernel has not taken, now or at an earlier submission that failed, into operations
  // that do nothing. False: there was nothing.
  bool withdraw() {
    std::vector<Completion*> withdrawn;
    // As io_uring_sq_ready() counts.
    const unsigned first = *ring_.sq.khead;
    for (unsigned at = first; at != ring_.sq.sqe_tail; at++) {
      io_uring_sqe& sqe = ring_.sq.sqes[at & ring_.sq.ring_mask];
      if (sqe.user_data == 0 || (sqe.user_data & kWatchBit) != 0) continue;
      // SAFETY: whoever queued the operation gave a Completion* that lives until it is called.
      auto* completion = reinterpret_cast<Completion*>(sqe.user_data);
      if (!completion->is_outbound()) continue;
      io_uring_prep_nop(&sqe);
      io_uring_sqe_set_data64(&sqe, 0);
      withdrawn.push_back(completion);
    }
    for (Completion* completion : withdrawn) completion->withdrawn();
    return !withdrawn.empty();
  }

  // EBUSY: completions overflowed and must be taken first. EAGAIN: no memory for a request now; it stays queued.
  static void check_submitted(int result) {
    if (result < 0 && result != -EINTR && result != -EBUSY && result != -EAGAIN) {
      fail_errno("KEMARI_EVENT_LOOP", "io_uring_enter", "cannot submit or wait for events", -result);
    }
  }

  void poll(int fd, unsigned events, uint64_t data) {
    io_uring_sqe* sqe = submission();
    io_uring_prep_poll_multishot(sqe, fd, events);
    io_uring_sqe_set_data64(sqe, data);
  }

  void arm(int fd, uint64_t tag, bool output_too) {
    poll(fd, POLLIN | POLLRDHUP | (output_too ? POLLOUT : 0u), watch_data(tag));
  }

  // Completions are copied out before any handler runs: a handler may submit, and so may need the queue.
  void handle_completions() {
    struct Result {
      uint64_t data;
      int result;
      bool more;
    };
    std::array<Result, kMaxCompletionsPerTurn> results;
    unsigned count = 0;
    unsigned head;
    io_uring_cqe* cqe;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      results[count++] = {cqe->user_data, cqe->res, (cqe->flags & IORING_CQE_F_MORE) != 0};
      if (count == results.size()) break;
    }
    io_uring_cq_advance(&ring_, count);
    for (unsigned i = 0; i < count; i++) handle(results[i].data, results[i].result, results[i].more);
  }

  void handle(uint64_t data, int result, bool more) {
    if (data == 0) return;
    if (data == kWakeData) {
      // Multishot polls end when completions overflowed, and are armed again.
      if (!more) poll(wake_.get(), POLLIN, kWakeData);
      return;
    }
    if ((data & kWatchBit) == 0) {
      // SAFETY: whoever queued the operation gave a Completion* that lives until it is called.
      reinterpret_cast<Completion*>(data)->completed(result);
      return;
    }
    const uint64_t tag = data >> 1;
    const WatchTable::Watch* watch = watches_.find(tag);
    if (watch == nullptr) return;
    const std::shared_ptr<Handler> handler = watch->handler;
    // A poll that failed would fail again at once; its owner finds out by reading.
    if (!more && result >= 0) arm(watch->fd, tag, watch->output_too);
    (*handler)();
  }

  io_uring ring_{};
  bool open_ = false;
  bool disabled_ = false;
  bool can_look_ = false;
  UniqueFd wake_;
  WatchTable watches_;
  PostedHandlers posted_;
  std::function<bool()> may_leave_;
};

}  // namespace

std::unique_ptr<EventLoop> create_uring_loop() {
  auto loop = std::make_unique<UringLoop>();
  if (!loop->open()) return nullptr;
  return loop;
}

}  // namespace kemari
