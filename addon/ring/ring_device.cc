#include "ring/ring_device.h"

#include <pthread.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "error.h"
#include "ring/device_queue.h"
#include "ring/vhost_user_session.h"

namespace kemari {

static constexpr size_t kMaxThreadNameBytes = 15;  // of pthread_setname_np

RingDevice::RingDevice(Options options)
    : name_(std::move(options.name)),
      on_event_(std::move(options.on_event)),
      loop_(EventLoop::create(options.allow_io_uring)) {
  front_end_ = options.front_end ? options.front_end(*this)
                                 : std::make_unique<VhostUserSession>(*this, std::move(options.socket));
  lane_ = std::make_unique<GateLane>(std::move(options.gate), [this] {
    lane_woken_.store(true);
    loop_->wake();
  });
}

RingDevice::~RingDevice() {
  KEMARI_ASSERT(!thread_.joinable());
}

void RingDevice::start() {
  const std::lock_guard life(life_mutex_);
  make_queues();
  thread_ = std::thread([this] { run(); });
}

void RingDevice::make_queues() {
  KEMARI_ASSERT(!stopped_ && !thread_.joinable() && queues_.empty());
  const uint32_t count = queue_count();
  KEMARI_ASSERT(count >= 1 && count <= kMaxQueues);
  for (uint32_t i = 0; i < count; i++) {
    queues_.push_back(std::make_unique<DeviceQueue>(front_end_->make_queue(i), i));
  }
}

void RingDevice::stop() {
  const std::lock_guard life(life_mutex_);
  if (std::exchange(stopped_, true)) return;
  if (!thread_.joinable()) {
    front_end_->close();
    return;
  }
  KEMARI_ASSERT(thread_.get_id() != std::this_thread::get_id());
  {
    const std::unique_lock lock = park();  // the thread must not end, with its loop, between the two
    stopping_ = true;
    loop_->wake();
  }
  thread_.join();
}

std::unique_lock<std::mutex> RingDevice::park() {
  parkers_.fetch_add(1);
  std::unique_lock lock(mutex_);
  parkers_.fetch_sub(1);
  return lock;
}

// A busy ring thread lets go of the lock for so short a time that a waiter would hardly ever get it.
void RingDevice::give_way(std::unique_lock<std::mutex>& lock) {
  while (parkers_.load() != 0) {
    lock.unlock();
    std::this_thread::yield();
    lock.lock();
  }
}

void RingDevice::set_suspend_on_stop(bool suspend) {
  const std::unique_lock lock = park();
  suspend_on_stop_ = suspend;
  if (loop_) loop_->wake();  // a stop that drains may be answered now
}

void RingDevice::machine_stopped() {
  const std::unique_lock lock = park();
  if (lane_) front_end_->machine_stopped();
}

void RingDevice::machine_continues() {
  const std::unique_lock lock = park();
  if (lane_) front_end_->machine_continues();
}

void RingDevice::freeze_held() {
  const std::unique_lock lock = park();
  if (lane_) lane_->freeze();
}

std::vector<PendingRequest> RingDevice::pending() {
  const std::unique_lock lock = park();
  std::vector<PendingRequest> requests;
  if (!lane_) return requests;  // the thread has ended
  const std::span<Outbound* const> held = lane_->held();
  for (const auto& queue : queues_) {
    for (uint16_t head = queue->pending.oldest(); head != PendingList::kNone; head = queue->pending.after(head)) {
      const bool is_held = std::any_of(held.begin(), held.end(), [&](const Outbound* request) {
        return request->queue == queue->index && request->head == head;
      });
      requests.push_back({queue->index, head, is_held});
    }
    for (const uint16_t head : queue->resubmit) requests.push_back({queue->index, head, false});
  }
  return requests;
}

uint32_t RingDevice::submitted() {
  const std::unique_lock lock = park();
  if (!lane_) return 0;  // the thread has ended
  uint32_t count = 0;
  for (const auto& queue : queues_) count += queue->in_flight();
  const uint32_t kept_back = lane_->kept_back();
  KEMARI_ASSERT(kept_back <= count);
  return count - kept_back;
}

RequestQueue& RingDevice::queue(uint32_t index) noexcept {
  return *queues_[index]->ring;
}

bool RingDevice::running(uint32_t index) const noexcept {
  return queues_[index]->running;
}

void RingDevice::emit(DeviceEvent event) {
  if (on_event_) on_event_(std::move(event));
}

void RingDevice::failed() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    connection_ended({DeviceEvent::Type::kProtocolError, error.code(), name_ + ": " + error.what()});
  } catch (const std::exception& error) {
    // No memory for what the front-end asks, for example.
    connection_ended({DeviceEvent::Type::kProtocolError, "KEMARI_VHOST_USER_REFUSED", name_ + ": " + error.what()});
  }
}

void RingDevice::run() {
  pthread_setname_np(pthread_self(), name_.substr(0, kMaxThreadNameBytes).c_str());
  std::unique_lock lock(mutex_);
  serve(lock, [&] {
    wait(lock);
    give_way(lock);
  });
}

void RingDevice::run_here(const std::function<bool()>& next) {
  const std::lock_guard life(life_mutex_);
  make_queues();
  stopped_ = true;  // by the time that anyone else can ask
  std::unique_lock lock(mutex_);
  serve(lock, [&] {
    if (!serve_offered()) arm_kicks();
    loop_->run_once(lock, stopping_);
    if (stopping_) return;
    lock.unlock();
    const bool goes_on = next();
    lock.lock();
    stopping_ = !goes_on;
  });
}

// From the thread's first step to its last; `turn` waits for what comes next.
template <typename Turn>
void RingDevice::serve(std::unique_lock<std::mutex>& lock, Turn&& turn) {
  enter();
  while (true) {
    if (stopping_) let_go();
    settle();
    if (stopping_ && idle()) break;
    turn();
  }
  leave(lock);
}

void RingDevice::enter() {
  loop_->enter_thread();
  protect([this] {
    front_end_->open();
    thread_started();
  });
}

void RingDevice::leave(std::unique_lock<std::mutex>& lock) {
  thread_ending();
  // io_uring holds the file of a poll that was removed until the next turn, and a device's files are to be gone now.
  loop_->post([] {});
  loop_->run_once(lock);
  // Gone now, however long someone keeps the closed device.
  lane_.reset();
  loop_.reset();
  queues_.clear();
  memory_.clear();
}

// Ends a turn: whatever its handlers made possible is done before the thread waits.
void RingDevice::settle() {
  bool again = true;
  while (again) {
    if (lane_woken_.exchange(false)) lane_released();
    turn_ended();
    for (const auto& queue : queues_) publish(*queue);
    again = false;
    for (const auto& queue : queues_) {
      protect([&] { again |= advance(*queue); });
    }
  }
  if (idle()) memory_.release_retired();
}

// Handles events. Where there are none it looks for some for a while, with the lock released, then sleeps.
void RingDevice::wait(std::unique_lock<std::mutex>& lock) {
  if (serve_offered() || loop_->ready()) return loop_->run_once(lock, false);
  if (std::exchange(completed_, 0) > kFewCompletions) idle_poll_.met_a_batch();
  if (loop_->can_look()) {
    loop_->submit(lock);
    const bool found = idle_poll_.look([this] {
      if (loop_->ready() || parkers_.load(std::memory_order_relaxed) != 0) return true;
      return std::any_of(queues_.begin(), queues_.end(), [](const auto& queue) { return queue->is_offered(); });
    });
    lock.lock();
    if (found) return;
  }
  if (arm_kicks()) return;
  loop_->run_once(lock);
  idle_poll_.slept();
}

// Chains that the guest was not asked to kick for.
bool RingDevice::serve_offered() {
  bool any = false;
  for (const auto& queue : queues_) {
    if (!queue->is_offered()) continue;
    any = true;
    // The device wishes for the next one again.
    queue->ring->set_kicks_wanted(false);
    protect([&] { queue_kicked(queue->index); });
  }
  return any;
}

// True when something was offered just now, so that nobody may sleep.
bool RingDevice::arm_kicks() {
  bool any = false;
  for (const auto& queue : queues_) any |= queue->running && queue->ring->arm_kicks();
  return any;
}

bool RingDevice::idle() const noexcept {
  return std::all_of(queues_.begin(), queues_.end(),
                     [this](const auto& queue) { return queue->pending.count() == 0 && in_flight(queue->index) == 0; });
}

void RingDevice::connection_ended(DeviceEvent event) {
  if (gone_) return;
  let_go();
  emit(std::move(event));
}

void RingDevice::let_go() {
  if (std::exchange(gone_, true)) return;
  for (const auto& queue : queues_) discard(*queue);
  front_end_->close();
  abandon();
}

}  // namespace kemari
