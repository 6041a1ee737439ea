#include "ring/console/console_pump.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "error.h"

namespace kemari {

namespace {

// Enough turns to move a full buffer both ways; then the lock is let go for a moment.
constexpr int kTurnSteps = 32;

void set_non_blocking(int fd, const char* which) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    fail_errno("KEMARI_CONSOLE", "fcntl",
               std::string("cannot make the console's ") + which + " descriptor non-blocking");
  }
}

ssize_t read_some(int fd, uint8_t* to, size_t length) {
  ssize_t result;
  do {
    result = ::read(fd, to, length);
  } while (result < 0 && errno == EINTR);
  return result;
}

// Sockets are written without SIGPIPE; what is no socket (a pipe or terminal) by write().
ssize_t write_some(int fd, const uint8_t* from, size_t length) {
  ssize_t result;
  do {
    result = ::send(fd, from, length, MSG_NOSIGNAL);
    if (result < 0 && errno == ENOTSOCK) result = ::write(fd, from, length);
  } while (result < 0 && errno == EINTR);
  return result;
}

}  // namespace

ConsolePump::ConsolePump(UniqueFd guest, UniqueFd outlet, std::shared_ptr<OutputGate> gate)
    : guest_(std::move(guest)), outlet_(std::move(outlet)) {
  set_non_blocking(guest_.get(), "guest");
  set_non_blocking(outlet_.get(), "outlet");
  loop_ = EventLoop::create(false);  // no disk I/O here
  lane_ = std::make_unique<GateLane>(std::move(gate), [this] { loop_->wake(); });
  loop_->add(guest_.get(), [] {}, true);
  loop_->add(outlet_.get(), [] {}, true);
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "console");
}

ConsolePump::~ConsolePump() {
  stop();
}

void ConsolePump::stop() {
  const std::lock_guard life(life_mutex_);
  if (!thread_.joinable()) return;
  stopping_ = true;
  loop_->wake();
  thread_.join();
  const std::lock_guard lock(mutex_);
  while (output_.size() > passed_) {
    lane_->drop(*output_.back());
    output_.pop_back();
  }
  lane_.reset();
  loop_.reset();
  guest_.reset();
  outlet_.reset();
}

void ConsolePump::run() {
  std::unique_lock lock(mutex_);
  loop_->enter_thread();
  while (!stopping_) {
    pump();
    loop_->run_once(lock);
    while (parkers_.load() != 0) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
  }
}

// Moves what can be moved. Readiness is edge-triggered: it goes on until neither side gives or takes any more.
void ConsolePump::pump() {
  for (int step = 0; step < kTurnSteps; step++) {
    take_released();
    bool any = false;
    any |= read_output() == Progress::kSome;
    any |= write_output() == Progress::kSome;
    any |= read_input() == Progress::kSome;
    any |= write_input() == Progress::kSome;
    if (!any) return;
  }
  loop_->post([] {});
}

std::unique_lock<std::mutex> ConsolePump::park() {
  parkers_.fetch_add(1);
  std::unique_lock lock(mutex_);
  parkers_.fetch_sub(1);
  if (!lane_) fail("KEMARI_CONSOLE", "the console has ended");
  return lock;
}

std::vector<uint8_t> ConsolePump::cut() {
  const std::unique_lock lock = park();
  take_released();
  // A full buffer keeps the pump from reading, but not what was written from being the cut's.
  while (read_chunk() == Progress::kSome) {
    if (buffered_bytes_ > kMaxCutBytes) fail("KEMARI_CONSOLE", "the console is written to during a cut");
  }
  std::vector<uint8_t> bytes;
  bytes.reserve(buffered_bytes_);
  for (const auto& chunk : output_) {
    bytes.insert(bytes.end(), chunk->data.begin() + static_cast<ptrdiff_t>(chunk->written_bytes), chunk->data.end());
  }
  loop_->wake();  // what was read here may be let out
  return bytes;
}

void ConsolePump::restore(std::span<const uint8_t> bytes) {
  if (bytes.size() > kMaxCutBytes) {
    fail("KEMARI_RING_STATE", "the console's part of a checkpoint has " + std::to_string(bytes.size()) +
                                  " bytes, expected at most " + std::to_string(kMaxCutBytes));
  }
  const std::unique_lock lock = park();
  for (size_t at = 0; at < bytes.size(); at += kChunkBytes) {
    append(bytes.subspan(at, std::min(kChunkBytes, bytes.size() - at)));
  }
  loop_->wake();
}

ConsolePump::Progress ConsolePump::read_output() {
  if (output_.size() >= kMaxBufferedChunks || buffered_bytes_ + kChunkBytes > kMaxBufferedBytes) return Progress::kNone;
  return read_chunk();
}

ConsolePump::Progress ConsolePump::read_chunk() {
  if (!guest_open_) return Progress::kNone;
  const ssize_t size = read_some(guest_.get(), scratch_.data(), scratch_.size());
  if (size < 0 && errno == EAGAIN) return Progress::kNone;
  if (size <= 0) {
    guest_open_ = false;
    return Progress::kSome;
  }
  append(std::span(scratch_).first(static_cast<size_t>(size)));
  return Progress::kSome;
}

void ConsolePump::append(std::span<const uint8_t> bytes) {
  auto chunk = std::make_unique<Output>();
  chunk->kind = OutboundKind::kConsole;
  chunk->data.assign(bytes.begin(), bytes.end());
  chunk->bytes = {{chunk->data.data(), chunk->data.size()}};
  chunk->is_frozen = true;  // our copy already: the guest cannot change it
  buffered_bytes_ += chunk->data.size();
  output_.push_back(std::move(chunk));
  if (lane_->admit(*output_.back())) passed_++;
}

void ConsolePump::take_released() {
  while (const Outbound* request = lane_->next_released()) {
    KEMARI_ASSERT(request == output_[passed_].get());
    passed_++;
  }
}

ConsolePump::Progress ConsolePump::write_output() {
  if (!guest_open_ && output_.empty() && outlet_open_) {
    outlet_open_ = false;  // all was said
    ::shutdown(outlet_.get(), SHUT_WR);
    return Progress::kNone;
  }
  if (passed_ == 0) return Progress::kNone;
  Output& chunk = *output_.front();
  if (outlet_open_) {
    // It may have passed the gate some time ago.
    if (!lane_->may_submit()) return Progress::kNone;
    const size_t left = chunk.data.size() - chunk.written_bytes;
    const ssize_t size = write_some(outlet_.get(), chunk.data.data() + chunk.written_bytes, left);
    if (size < 0 && errno == EAGAIN) return Progress::kNone;
    outlet_open_ = size >= 0;
    chunk.written_bytes += outlet_open_ ? static_cast<size_t>(size) : left;  // nobody reads: it is lost
    if (chunk.written_bytes < chunk.data.size()) return Progress::kSome;
  }
  buffered_bytes_ -= chunk.data.size();
  lane_->done(chunk);
  output_.pop_front();
  passed_--;
  return Progress::kSome;
}

ConsolePump::Progress ConsolePump::read_input() {
  if (!input_open_ || input_first_ != input_last_) return Progress::kNone;
  const ssize_t size = read_some(outlet_.get(), input_.data(), input_.size());
  if (size < 0 && errno == EAGAIN) return Progress::kNone;
  if (size <= 0) {
    input_open_ = false;
    return Progress::kSome;
  }
  input_first_ = 0;
  input_last_ = static_cast<size_t>(size);
  return Progress::kSome;
}

ConsolePump::Progress ConsolePump::write_input() {
  if (input_first_ == input_last_) return Progress::kNone;
  const ssize_t size = write_some(guest_.get(), input_.data() + input_first_, input_last_ - input_first_);
  if (size < 0 && errno == EAGAIN) return Progress::kNone;
  // A guest that reads no more loses what is typed.
  input_first_ = size < 0 ? input_last_ : input_first_ + static_cast<size_t>(size);
  return Progress::kSome;
}

}  // namespace kemari
