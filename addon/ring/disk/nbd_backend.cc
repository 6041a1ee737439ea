#include "ring/disk/nbd_backend.h"

#include <libnbd.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "error.h"
#include "ring/disk/io_vector.h"

namespace kemari {
namespace {

bool is_transfer(const BlockRequest& request) {
  return request.operation == BlockOperation::kRead || request.operation == BlockOperation::kWrite;
}

bool changes_storage(const BlockRequest* request) {
  return request->operation != BlockOperation::kRead && request->operation != BlockOperation::kFlush;
}

std::string nbd_error_text() {
  const char* text = ::nbd_get_error();
  return text != nullptr ? text : "the server closed the connection";
}

}  // namespace

NbdBackend::NbdBackend(std::string uri, bool read_only, bool discard)
    : uri_(std::move(uri)),
      connection_(std::make_unique<NbdConnection>(uri_, kConnectTimeout, [] { return false; })),
      geometry_(connection_->geometry()) {
  if (geometry_.read_only && !read_only) {
    fail("KEMARI_DISK_OPEN",
         "NBD disk " + uri_ + " is exported read-only; make the disk read-only (mode r) or the export writable");
  }
  if (read_only) geometry_.read_only = true;
  if (read_only || !discard) geometry_.can_discard = false;
  if (read_only) geometry_.can_write_zeroes = false;
}

NbdBackend::~NbdBackend() {
  {
    const std::lock_guard lock(reconnect_mutex_);
    ending_ = true;
  }
  reconnect_changed_.notify_all();
  if (reconnect_thread_.joinable()) reconnect_thread_.join();
}

void NbdBackend::attach(EventLoop& loop, BlockClient& client) {
  loop_ = &loop;
  client_ = &client;
  interest_.reset(::epoll_create1(EPOLL_CLOEXEC));
  reconnect_event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!interest_.valid() || !reconnect_event_.valid()) {
    fail_errno("KEMARI_DISK_WORKERS", "epoll_create1", "cannot watch the connection of NBD disk " + uri_);
  }
  loop_->add(interest_.get(), [this] { pump(); });
  loop_->add(reconnect_event_.get(), [this] { reconnected(); });
  watch();
}

void NbdBackend::detach() {
  KEMARI_ASSERT(in_flight_.empty() && waiting_for_bounce_.empty());
  unwatch();
  loop_->remove(interest_.get());
  loop_->remove(reconnect_event_.get());
  connection_.reset();
}

// The device ends: a server that does not answer must not keep it.
void NbdBackend::abandon() {
  abandoned_ = true;
  for (BlockRequest* request : std::exchange(waiting_for_bounce_, {})) client_->finished(*request, ECANCELED);
  await_answers();
  unwatch();
  connection_.reset();  // from here on nothing writes into the requests' buffers
  stepped_.clear();
  for (BlockRequest* request : std::vector(in_flight_)) finish(*request, ECANCELED);
}

// What the server was asked for it may carry out after we have gone, behind whatever another host has written by then.
// So the end of this one is not told before the answers are there, or have not come for too long.
void NbdBackend::await_answers() {
  const auto deadline = std::chrono::steady_clock::now() + kAbandonTimeout;
  while (connection_ != nullptr && !in_flight_.empty()) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 || ::nbd_poll(connection_->handle(), static_cast<int>(left.count())) <= 0) break;
    hand_back();
  }
  if (in_flight_.empty()) return;
  client_->left_unanswered(static_cast<uint32_t>(std::ranges::count_if(in_flight_, changes_storage)));
  client_->storage_event("NBD disk " + uri_ + " is let go with " + std::to_string(in_flight_.size()) +
                         " requests unanswered: the server may still carry them out");
}

void NbdBackend::watch() {
  epoll_event event{};
  event.events = interest_events_ = EPOLLIN;
  if (::epoll_ctl(interest_.get(), EPOLL_CTL_ADD, ::nbd_aio_get_fd(connection_->handle()), &event) != 0) {
    fail_errno("KEMARI_DISK_WORKERS", "epoll_ctl", "cannot watch the connection of NBD disk " + uri_);
  }
}

void NbdBackend::unwatch() {
  if (connection_ == nullptr) return;
  const int fd = ::nbd_aio_get_fd(connection_->handle());
  if (fd >= 0) (void)::epoll_ctl(interest_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

// The epoll's level-triggered readiness follows libnbd's state; the loop, edge-triggered, sees the epoll become ready.
void NbdBackend::update_interest() {
  if (connection_ == nullptr) return;
  nbd_handle* handle = connection_->handle();
  const bool writing = (::nbd_aio_get_direction(handle) & LIBNBD_AIO_DIRECTION_WRITE) != 0;
  const uint32_t wanted = EPOLLIN | (writing ? static_cast<uint32_t>(EPOLLOUT) : 0u);
  if (wanted == interest_events_) return;
  epoll_event event{};
  event.events = interest_events_ = wanted;
  if (::epoll_ctl(interest_.get(), EPOLL_CTL_MOD, ::nbd_aio_get_fd(handle), &event) != 0) lose("its socket is gone");
}

void NbdBackend::pump() {
  epoll_event event{};
  while (connection_ != nullptr && ::epoll_wait(interest_.get(), &event, 1, 0) == 1) {
    nbd_handle* handle = connection_->handle();
    const unsigned direction = ::nbd_aio_get_direction(handle);
    int result = -1;
    if ((event.events & ~static_cast<uint32_t>(EPOLLOUT)) != 0 && (direction & LIBNBD_AIO_DIRECTION_READ) != 0) {
      result = ::nbd_aio_notify_read(handle);
    } else if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) {
      result = ::nbd_aio_notify_write(handle);
    }
    const std::string error = result < 0 ? nbd_error_text() : "";
    hand_back();
    if (connection_ == nullptr) return;
    if (result < 0 || ::nbd_aio_is_dead(handle) != 0 || ::nbd_aio_is_closed(handle) != 0) {
      lose(error.empty() ? "the server closed the connection" : error);
      return;
    }
    update_interest();
  }
}

// Goes on with what libnbd's callbacks have reported.
void NbdBackend::hand_back() {
  if (std::exchange(handing_back_, true)) return;
  while (!stepped_.empty()) {
    BlockRequest* request = stepped_.back();
    stepped_.pop_back();
    stepped(*request, -request->error);
  }
  handing_back_ = false;
}

void NbdBackend::submit(BlockRequest& request) {
  request.backend = this;
  request.done = 0;
  request.error = 0;
  request.bounce = nullptr;
  if (connection_ == nullptr) {
    if (!abandoned_) start_reconnecting();
    return client_->finished(request, ENOTCONN);
  }
  if (is_transfer(request) && request.data.size() > 1) {
    request.bounce = bounces_.take();
    if (request.bounce == nullptr) {
      if (!bounces_.any_taken()) return client_->finished(request, ENOMEM);
      waiting_for_bounce_.push_back(&request);
      return;
    }
  }
  in_flight_.push_back(&request);
  if (start_step(request)) hand_back();
}

// False when the request ended here.
bool NbdBackend::start_step(BlockRequest& request) {
  request.error = 0;
  if (issue(request) >= 0) {
    update_interest();
    return true;
  }
  const int error = ::nbd_get_errno();
  const std::string text = nbd_error_text();
  nbd_handle* handle = connection_->handle();
  const bool lost = ::nbd_aio_is_dead(handle) != 0 || ::nbd_aio_is_closed(handle) != 0;
  finish(request, error != 0 ? error : EIO);
  if (lost) lose(text);
  return false;
}

int64_t NbdBackend::issue(BlockRequest& request) {
  nbd_handle* handle = connection_->handle();
  nbd_completion_callback callback{};
  callback.callback = [](void* user_data, int* error) {
    auto* request = static_cast<BlockRequest*>(user_data);
    request->error = *error;
    static_cast<NbdBackend*>(request->backend)->stepped_.push_back(request);
    return 1;  // libnbd forgets the command
  };
  callback.user_data = &request;
  const uint32_t fua = request.write_through && connection_->can_fua() ? LIBNBD_CMD_FLAG_FUA : 0;
  const uint64_t offset = request.offset + request.done;
  request.piece = request.length - request.done;
  if (is_transfer(request)) {
    const uint64_t most = request.bounce != nullptr ? kBounceBufferBytes : UINT64_MAX;
    request.piece = std::min({request.piece, connection_->max_request_bytes(), most});
  }
  uint8_t* data = request.bounce != nullptr ? request.bounce->data
                  : request.data.empty()    ? nullptr
                                            : static_cast<uint8_t*>(request.data[0].iov_base);
  switch (request.operation) {
    case BlockOperation::kRead:
      return ::nbd_aio_pread(handle, data, request.piece, offset, callback, 0);
    case BlockOperation::kWrite:
      if (request.bounce != nullptr) io_gather(request.data, data, request.piece);
      return ::nbd_aio_pwrite(handle, data, request.piece, offset, callback, fua);
    case BlockOperation::kFlush:
      return ::nbd_aio_flush(handle, callback, 0);
    case BlockOperation::kDiscard:
      return ::nbd_aio_trim(handle, request.piece, offset, callback, fua);
    case BlockOperation::kWriteZeroes:
      return ::nbd_aio_zero(handle, request.piece, offset, callback,
                            fua | (request.unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE));
  }
  return -1;
}

void NbdBackend::stepped(BlockRequest& request, int result) {
  if (result < 0) return finish(request, -result);
  if (is_transfer(request)) {
    if (request.bounce != nullptr && request.operation == BlockOperation::kRead) {
      io_scatter(request.data, request.bounce->data, request.piece);
    }
    request.done += request.piece;
    if (request.done < request.length) {
      if (abandoned_) return finish(request, ECANCELED);
      io_consume(request.data, request.piece);
      (void)start_step(request);
      return;
    }
  }
  const bool durable =
      !request.write_through || connection_ == nullptr || connection_->can_fua() || !geometry_.can_flush;
  if (!durable && request.operation != BlockOperation::kRead && request.operation != BlockOperation::kFlush) {
    if (abandoned_) return finish(request, ECANCELED);
    // No FUA: a flush of its own makes the write durable; the request then ends as one.
    request.operation = BlockOperation::kFlush;
    (void)start_step(request);
    return;
  }
  finish(request, 0);
}

void NbdBackend::work(BlockRequest&) {
  KEMARI_ASSERT(false && "an NBD disk has no workers");
}

void NbdBackend::finish(BlockRequest& request, int error) {
  const auto place = std::find(in_flight_.begin(), in_flight_.end(), &request);
  KEMARI_ASSERT(place != in_flight_.end());
  *place = in_flight_.back();
  in_flight_.pop_back();
  BounceBuffer* bounce = std::exchange(request.bounce, nullptr);
  client_->finished(request, error);
  if (bounce == nullptr) return;
  if (waiting_for_bounce_.empty() || connection_ == nullptr) return bounces_.give_back(bounce);
  BlockRequest* next = waiting_for_bounce_.front();
  waiting_for_bounce_.pop_front();
  next->bounce = bounce;
  in_flight_.push_back(next);
  (void)start_step(*next);
}

void NbdBackend::lose(const std::string& why) {
  if (connection_ == nullptr) return;
  unwatch();
  connection_.reset();  // from here on nothing writes into the requests' buffers
  stepped_.clear();
  client_->storage_event("NBD disk " + uri_ + " lost its server: " + why +
                         "; requests fail until it is back, connecting again in the background");
  for (BlockRequest* request : std::exchange(waiting_for_bounce_, {})) client_->finished(*request, ENOTCONN);
  for (BlockRequest* request : std::vector(in_flight_)) finish(*request, ENOTCONN);
  start_reconnecting();
}

void NbdBackend::start_reconnecting() {
  const std::lock_guard lock(reconnect_mutex_);
  if (reconnecting_ || fresh_connection_ != nullptr) return;
  if (!reconnect_thread_.joinable()) {
    try {
      reconnect_thread_ = std::thread([this] { reconnect_loop(); });
      ::pthread_setname_np(reconnect_thread_.native_handle(), "kemari-nbd");
    } catch (const std::system_error&) {
      return;  // the next request tries again
    }
  }
  reconnecting_ = true;
  reconnect_changed_.notify_all();
}

void NbdBackend::reconnect_loop() {
  std::unique_lock lock(reconnect_mutex_);
  for (;;) {
    reconnect_changed_.wait(lock, [this] { return ending_ || reconnecting_; });
    std::string failure;
    auto pause = kFirstReconnectPause;
    for (int attempt = 0; attempt < kReconnectAttempts && !ending_ && fresh_connection_ == nullptr; ++attempt) {
      lock.unlock();
      std::unique_ptr<NbdConnection> fresh;
      try {
        const auto stopped = [this] {
          const std::lock_guard inner(reconnect_mutex_);
          return ending_;
        };
        fresh = std::make_unique<NbdConnection>(uri_, kConnectTimeout, stopped);
      } catch (const Error& error) {
        failure = error.what();
      }
      lock.lock();
      fresh_connection_ = std::move(fresh);
      if (fresh_connection_ != nullptr) break;
      reconnect_changed_.wait_for(lock, pause, [this] { return ending_; });
      pause = std::min(pause * 2, kLastReconnectPause);
    }
    if (ending_) return;
    reconnecting_ = false;
    reconnect_failure_ = fresh_connection_ != nullptr ? "" : failure;
    (void)::eventfd_write(reconnect_event_.get(), 1);
  }
}

void NbdBackend::reconnected() {
  eventfd_t count;
  (void)::eventfd_read(reconnect_event_.get(), &count);
  std::string failure;
  std::unique_ptr<NbdConnection> fresh;
  {
    const std::lock_guard lock(reconnect_mutex_);
    fresh = std::move(fresh_connection_);
    failure = std::exchange(reconnect_failure_, "");
  }
  if (abandoned_ || connection_ != nullptr) return;
  if (fresh == nullptr) {
    if (!failure.empty()) client_->storage_event(failure + "; given up until the guest's next request");
    return;
  }
  const BlockGeometry& now = fresh->geometry();
  if (now.size_bytes != geometry_.size_bytes || now.logical_block_bytes > geometry_.logical_block_bytes ||
      (now.read_only && !geometry_.read_only) || (geometry_.can_flush && !now.can_flush)) {
    client_->storage_event("NBD disk " + uri_ + " came back as another export (" + std::to_string(now.size_bytes) +
                           " bytes, expected " + std::to_string(geometry_.size_bytes) + "); it is not used");
    return;
  }
  connection_ = std::move(fresh);
  watch();
  client_->storage_event("NBD disk " + uri_ + " has its server back");
}

}  // namespace kemari
