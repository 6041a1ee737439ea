#include "ring/disk/nbd_backend.h"

#include <libnbd.h>
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "error.h"
#include "ring/disk/io_vector.h"

namespace kemari {
namespace {

// libnbd wants the bytes of a command in one piece.
bool needs_bounce(const BlockRequest& request) {
  return request.is_transfer() && request.data.size() > 1;
}

bool is_alive(nbd_handle* handle) {
  return ::nbd_aio_is_dead(handle) == 0 && ::nbd_aio_is_closed(handle) == 0;
}

std::string nbd_error_text() {
  const char* text = ::nbd_get_error();
  return text != nullptr ? text : "the server closed the connection";
}

}  // namespace

NbdBackend::NbdBackend(std::string uri, bool read_only, bool discard, bool lost_server)
    : uri_(std::move(uri)),
      connection_(std::make_unique<NbdConnection>(uri_, NbdReconnector::kConnectTimeout, [] { return false; })),
      geometry_(connection_->geometry()),
      lost_server_(lost_server),
      reconnector_(uri_) {
  if (geometry_.read_only && !read_only) {
    fail("KEMARI_DISK_OPEN",
         "NBD disk " + uri_ + " is exported read-only; make the disk read-only (mode r) or the export writable");
  }
  if (read_only) geometry_.read_only = true;
  if (read_only || !discard) geometry_.can_discard = false;
  if (read_only) geometry_.can_write_zeroes = false;
}

void NbdBackend::attach(EventLoop& loop, BlockClient& client) {
  loop_ = &loop;
  client_ = &client;
  interest_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!interest_.valid()) {
    fail_errno("KEMARI_DISK_WORKERS", "epoll_create1", "cannot watch the connection of NBD disk " + uri_);
  }
  reconnector_.open();
  loop_->add(interest_.get(), [this] { pump(); });
  loop_->add(reconnector_.fd(), [this] { reconnected(); });
  watch();
}

void NbdBackend::detach() {
  KEMARI_ASSERT(in_flight_.empty() && queued_.empty());
  unwatch();
  loop_->remove(interest_.get());
  loop_->remove(reconnector_.fd());
  connection_.reset();
}

// The device ends: a server that does not answer must not keep it.
void NbdBackend::abandon() {
  abandoned_ = true;
  for (BlockRequest* request : std::exchange(queued_, {})) finish(*request, ECANCELED);
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
  while (connection_ != nullptr && !in_flight_.empty() && !stands_still()) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    nbd_handle* handle = connection_->handle();
    const short wanted = is_sending_ ? POLLIN | POLLOUT : POLLIN;
    pollfd socket{::nbd_aio_get_fd(handle), wanted, 0};
    if (::poll(&socket, 1, static_cast<int>(left.count())) <= 0) break;
    // The lease may have ended meanwhile.
    if (stands_still() || proceed(static_cast<uint32_t>(socket.revents))) break;
  }
  if (in_flight_.empty()) return;
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

// Bytes that may not leave now wait in libnbd, which sends them in whatever call: none is made until resume().
bool NbdBackend::stands_still() const noexcept {
  return is_sending_ && !client_->may_leave();
}

void NbdBackend::pump() {
  epoll_event event{};
  while (connection_ != nullptr && !stands_still() && ::epoll_wait(interest_.get(), &event, 1, 0) == 1) {
    if (stands_still()) return;
    if (const std::optional<std::string> end = proceed(event.events)) return lose(*end);
    issue_queued();
  }
}

// Lets libnbd read or write once, as epoll or poll has it. Returns why the connection is no more, if so.
std::optional<std::string> NbdBackend::proceed(uint32_t events) {
  nbd_handle* handle = connection_->handle();
  const unsigned direction = ::nbd_aio_get_direction(handle);
  int result = -1;
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0 && (direction & LIBNBD_AIO_DIRECTION_READ) != 0) {
    result = ::nbd_aio_notify_read(handle);
  } else if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) {
    result = ::nbd_aio_notify_write(handle);
  }
  const std::string error = result < 0 ? nbd_error_text() : "";
  if (::nbd_aio_is_ready(handle) > 0) is_sending_ = false;
  hand_back();
  if (connection_ != nullptr && result >= 0 && is_alive(handle)) return std::nullopt;
  return error.empty() ? "the server closed the connection" : error;
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
  request.is_unanswered = false;
  request.covers = unflushed_.now();
  if (connection_ == nullptr) {
    start_reconnecting();
    note_end(request, ENOTCONN);
    return client_->finished(request, ENOTCONN);
  }
  if (refuses_flush(request)) {
    note_end(request, EIO);
    return client_->finished(request, EIO);
  }
  in_flight_.push_back(&request);
  queue_step(request);
  hand_back();
}

void NbdBackend::queue_step(BlockRequest& request) {
  queued_.push_back(&request);
  issue_queued();
}

// A connection that stood still may have more to do than issue.
void NbdBackend::resume() {
  pump();
  issue_queued();
  hand_back();
}

// Gives libnbd what it can send now and what may leave now.
void NbdBackend::issue_queued() {
  if (std::exchange(issuing_, true)) return;
  bool outbound_too = client_->may_leave();
  while (connection_ != nullptr && ::nbd_aio_is_ready(connection_->handle()) > 0) {
    BlockRequest* request = take_queued(outbound_too);
    if (request == nullptr) break;
    if (needs_bounce(*request) && !take_bounce(*request)) {
      if (bounces_.any_taken()) {
        queued_.push_front(request);  // the next one that is given back lets it go on
        break;
      }
      finish(*request, ENOMEM);
      continue;
    }
    prepare(*request);
    // Here, where nothing but the call is left to do.
    if (request->is_outbound() && !client_->may_leave()) {
      put_back(*request);
      outbound_too = false;
      continue;
    }
    issue(*request);
  }
  issuing_ = false;
  update_interest();
}

BlockRequest* NbdBackend::take_queued(bool outbound_too) {
  const auto place = std::ranges::find_if(
      queued_, [&](const BlockRequest* request) { return outbound_too || !request->is_outbound(); });
  if (place == queued_.end()) return nullptr;
  BlockRequest* request = *place;
  queued_.erase(place);
  return request;
}

bool NbdBackend::take_bounce(BlockRequest& request) {
  request.bounce = bounces_.take();
  return request.bounce != nullptr;
}

void NbdBackend::put_back(BlockRequest& request) {
  queued_.push_front(&request);
  give_back_bounce(request);
}

void NbdBackend::issue(BlockRequest& request) {
  nbd_handle* handle = connection_->handle();
  request.is_unanswered = true;
  if (call(request) < 0) {
    request.is_unanswered = false;
    const int error = ::nbd_get_errno();
    const std::string text = nbd_error_text();
    const bool lost = !is_alive(handle);
    finish(request, error != 0 ? error : EIO);
    if (lost) lose(text);
    return;
  }
  is_sending_ = ::nbd_aio_is_ready(handle) == 0;
  if (!is_alive(handle)) lose(nbd_error_text());
}

void NbdBackend::stepped(BlockRequest& request, int result) {
  // libnbd's own word for a command that has no answer: the connection ended. No server can say it.
  if (result != -ENOTCONN) request.is_unanswered = false;
  if (result < 0) return finish(request, -result);
  if (request.is_transfer()) {
    if (request.bounce != nullptr && request.operation == BlockOperation::kRead) {
      io_scatter(request.data, request.bounce->data, request.piece);
    }
    request.done += request.piece;
    if (request.done < request.length) {
      if (abandoned_) return finish(request, ECANCELED);
      io_consume(request.data, request.piece);
      give_back_bounce(request);
      return queue_step(request);
    }
  }
  if (connection_ != nullptr && must_be_durable(request) && !connection_->can_fua()) {
    if (abandoned_) return finish(request, ECANCELED);
    // No FUA: a flush of its own makes the write durable; the request then ends as one.
    request.operation = BlockOperation::kFlush;
    return queue_step(request);
  }
  finish(request, 0);
}

// --- what a server that crashed has lost
// ------------------------------------------------------------------------------

void NbdBackend::go_on_from(UnflushedChanges unflushed) {
  unflushed_.go_on_from(unflushed);
  if (lost_server_) unflushed_.connection_ended();
}

bool NbdBackend::refuses_flush(const BlockRequest& request) {
  if (request.operation != BlockOperation::kFlush || unflushed_.lost() == 0) return false;
  client_->storage_event("NBD disk " + uri_ + " lost its server with " + std::to_string(unflushed_.lost()) +
                         " changes that no flush had reached, and that a server which crashed does not have any more: "
                         "this flush fails, so that the guest knows");
  return true;
}

void NbdBackend::note_end(const BlockRequest& request, int error) {
  if (request.operation == BlockOperation::kFlush) return unflushed_.settle(request.covers);
  if (error == 0 && request.changes_storage() && geometry_.can_flush && !must_be_durable(request)) {
    unflushed_.answered();
  }
}

void NbdBackend::withdrawn(BlockRequest&) {
  KEMARI_ASSERT(false && "an NBD disk queues nothing in the ring");
}

void NbdBackend::work(BlockRequest&) {
  KEMARI_ASSERT(false && "an NBD disk has no workers");
}

void NbdBackend::give_back_bounce(BlockRequest& request) {
  if (request.bounce != nullptr) bounces_.give_back(std::exchange(request.bounce, nullptr));
}

void NbdBackend::finish(BlockRequest& request, int error) {
  const auto place = std::find(in_flight_.begin(), in_flight_.end(), &request);
  KEMARI_ASSERT(place != in_flight_.end());
  *place = in_flight_.back();
  in_flight_.pop_back();
  give_back_bounce(request);
  note_end(request, error);
  if (std::exchange(request.is_unanswered, false) && request.changes_storage()) client_->left_unanswered();
  client_->finished(request, error);
}

void NbdBackend::lose(const std::string& why) {
  if (connection_ == nullptr) return;
  unwatch();
  connection_.reset();  // from here on nothing writes into the requests' buffers
  stepped_.clear();
  client_->storage_event("NBD disk " + uri_ + " lost its server: " + why +
                         "; requests fail until it is back, connecting again in the background");
  queued_.clear();
  is_sending_ = false;
  unflushed_.connection_ended();
  for (BlockRequest* request : std::vector(in_flight_)) finish(*request, ENOTCONN);
  start_reconnecting();
}

void NbdBackend::start_reconnecting() {
  if (!abandoned_) reconnector_.start();
}

void NbdBackend::reconnected() {
  auto [fresh, failure] = reconnector_.take();
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
