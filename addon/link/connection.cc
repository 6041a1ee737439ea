#include "link/connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "error.h"

namespace kemari {

namespace {

constexpr int kNeverMs = -1;

[[noreturn]] void socket_failed(const char* system_call, int error_number) {
  if (error_number == ECONNRESET || error_number == EPIPE) {
    fail_errno("KEMARI_LINK_CLOSED", system_call, "the peer closed the connection", error_number);
  }
  fail_errno("KEMARI_LINK_SOCKET", system_call, "the connection to the peer failed", error_number);
}

int milliseconds_until(LinkClock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - LinkClock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30));
}

}  // namespace

Connection::Connection(UniqueFd socket, std::optional<PskSecret> secret, bool is_client)
    : socket_(std::move(socket)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      halt_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_.valid() || !halt_.valid()) fail_errno("KEMARI_LINK_SOCKET", "eventfd", "cannot serve a connection");
  const int flags = fcntl(socket_.get(), F_GETFL);
  if (flags < 0 || fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    fail_errno("KEMARI_LINK_SOCKET", "fcntl", "cannot serve a connection");
  }
  const int on = 1;
  // Fails on a Unix socket, which has no such delay.
  static_cast<void>(setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  if (!secret) return;
  ssl_ = make_psk_session(std::move(*secret), is_client);
  BIO* bio = BIO_new(bio_method());
  if (bio == nullptr) fail("KEMARI_LINK_TLS", "BIO_new failed: " + take_tls_failure().text);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
}

const BIO_METHOD* Connection::bio_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kemari link");
    KEMARI_ASSERT(made != nullptr);
    BIO_meth_set_write_ex(made, bio_write);
    BIO_meth_set_read_ex(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

int Connection::bio_write(BIO* bio, const char* data, size_t size, size_t* written) {
  auto* self = static_cast<Connection*>(BIO_get_data(bio));
  // SAFETY: octets either way; as chars they would be converted one by one.
  const auto* bytes = reinterpret_cast<const uint8_t*>(data);
  self->outgoing_.insert(self->outgoing_.end(), bytes, bytes + size);
  *written = size;
  return 1;
}

int Connection::bio_read(BIO* bio, char* into, size_t size, size_t* count) {
  auto* self = static_cast<Connection*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  ssize_t got;
  do got = recv(self->socket_.get(), into, size, 0);
  while (got < 0 && errno == EINTR);
  self->socket_error_ = got < 0 ? errno : 0;
  *count = got > 0 ? static_cast<size_t>(got) : 0;
  if (got > 0) return 1;
  if (got < 0 && errno == EAGAIN) BIO_set_retry_read(bio);
  return got < 0 ? -1 : 0;
}

long Connection::bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

void Connection::tls_failed(const char* what) {
  if (socket_error_ != 0) socket_failed("recv", socket_error_);
  const unsigned long error = ERR_peek_error();
  const bool ended =
      error == 0 || (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
  const TlsFailure failure = take_tls_failure();
  if (ended) fail("KEMARI_LINK_CLOSED", "the peer closed the connection");
  fail("KEMARI_LINK_TLS", std::string(what) + ": " + failure.text);
}

bool Connection::secure(LinkClock::time_point deadline) {
  if (ssl_ == nullptr) return true;
  for (;;) {
    bool all_sent;
    {
      const std::lock_guard lock(mutex_);
      ERR_clear_error();
      const int result = SSL_do_handshake(ssl_.get());
      const int error = SSL_get_error(ssl_.get(), result);
      if (result != 1 && error != SSL_ERROR_WANT_READ) {
        static_cast<void>(flush_some());  // the alert that tells the peer why
        const unsigned long first = ERR_peek_error();
        if (ERR_GET_LIB(first) == ERR_LIB_SSL && ERR_GET_REASON(first) != SSL_R_UNEXPECTED_EOF_WHILE_READING) {
          const TlsFailure failure = take_tls_failure();
          if (failure.wrong_key) {
            fail("KEMARI_LINK_KEY", "the peer has another key, or means another connection (" + failure.text +
                                        "); both hosts need the same key file");
          }
          fail("KEMARI_LINK_TLS", "the peer does not speak TLS 1.3 as expected: " + failure.text);
        }
        tls_failed("the TLS handshake failed");
      }
      all_sent = flush_some();
      if (result == 1 && all_sent) return true;
    }
    switch (wait(all_sent ? POLLIN : POLLIN | POLLOUT, deadline)) {
      case Wait::kStopped:
        return false;
      case Wait::kTimedOut:
        fail("KEMARI_LINK_TIMEOUT", "the peer did not finish the TLS handshake in time");
      case Wait::kReady:
        break;
    }
  }
}

std::optional<size_t> Connection::receive(std::span<uint8_t> into) {
  ssize_t got;
  do got = recv(socket_.get(), into.data(), into.size(), 0);
  while (got < 0 && errno == EINTR);
  if (got > 0) return static_cast<size_t>(got);
  if (got == 0) fail("KEMARI_LINK_CLOSED", "the peer closed the connection");
  if (errno == EAGAIN) return std::nullopt;
  socket_failed("recv", errno);
}

std::optional<size_t> Connection::read_some(std::span<uint8_t> into) {
  if (ssl_ == nullptr) return receive(into);
  ERR_clear_error();
  socket_error_ = 0;
  size_t count = 0;
  const int result = SSL_read_ex(ssl_.get(), into.data(), into.size(), &count);
  if (result == 1) return count;
  if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ) return std::nullopt;
  tls_failed("what the peer sent cannot be decrypted");
}

std::optional<size_t> Connection::read(std::span<uint8_t> into, LinkClock::time_point deadline) {
  const bool has_deadline = deadline != LinkClock::time_point::max();
  while (!stopped_) {
    bool all_sent = true;
    {
      const std::lock_guard lock(mutex_);
      if (const std::optional<size_t> count = read_some(into)) return count;
      if (has_posted_) all_sent = flush_some();
    }
    const short events = all_sent ? POLLIN : POLLIN | POLLOUT;
    const Wait end = wait(events, has_deadline ? std::optional(deadline) : std::nullopt);
    if (end == Wait::kTimedOut) return std::nullopt;
  }
  return 0;
}

size_t Connection::read(std::span<uint8_t> into) {
  return *read(into, LinkClock::time_point::max());
}

bool Connection::read_all(std::span<uint8_t> into) {
  while (!into.empty()) {
    const size_t count = read(into);
    if (count == 0) return false;
    into = into.subspan(count);
  }
  return true;
}

void Connection::seal(std::span<const uint8_t> bytes) {
  if (ssl_ == nullptr) {
    outgoing_.insert(outgoing_.end(), bytes.begin(), bytes.end());
    return;
  }
  while (!bytes.empty()) {
    ERR_clear_error();
    size_t count = 0;
    // Never wants anything: the BIO takes all.
    if (SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count) != 1) tls_failed("cannot encrypt");
    bytes = bytes.subspan(count);
  }
}

void Connection::seal_gathered() {
  seal(gathered_);
  gathered_.clear();
}

bool Connection::flush_some() {
  while (sent_ < outgoing_.size()) {
    const ssize_t count = send(socket_.get(), outgoing_.data() + sent_, outgoing_.size() - sent_, MSG_NOSIGNAL);
    if (count >= 0) {
      sent_ += static_cast<size_t>(count);
    } else if (errno == EAGAIN) {
      return false;
    } else if (errno != EINTR) {
      socket_failed("send", errno);
    }
  }
  outgoing_.clear();
  sent_ = 0;
  has_posted_ = false;
  return true;
}

bool Connection::flush() {
  while (!stopped_) {
    {
      const std::lock_guard lock(mutex_);
      if (flush_some()) return true;
    }
    static_cast<void>(wait(POLLOUT, std::nullopt));
  }
  return false;
}

bool Connection::write(std::span<const uint8_t> bytes, bool more) {
  const std::lock_guard turn(write_turn_);
  for (;;) {
    bool full;
    {
      const std::lock_guard lock(mutex_);
      while (!bytes.empty() && outgoing_.size() < kFlushBytes) {
        // Whole TLS records go out of the caller's memory; only what does not fill one is gathered.
        if (gathered_.empty() && bytes.size() >= kGatherBytes) {
          seal(bytes.first(kGatherBytes));
          bytes = bytes.subspan(kGatherBytes);
          continue;
        }
        const size_t count = std::min(bytes.size(), kGatherBytes - gathered_.size());
        gathered_.insert(gathered_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count));
        bytes = bytes.subspan(count);
        if (gathered_.size() == kGatherBytes) seal_gathered();
      }
      full = outgoing_.size() >= kFlushBytes;
      if (bytes.empty() && !full && more) return !stopped_;
      if (bytes.empty() && !more) seal_gathered();
    }
    if (!flush()) return false;
    if (bytes.empty()) return true;
  }
}

void Connection::post(std::span<const uint8_t> bytes) {
  const std::lock_guard turn(write_turn_);
  {
    const std::lock_guard lock(mutex_);
    if (outgoing_.size() - sent_ + bytes.size() > kMaxPostedBytes) {
      fail("KEMARI_LINK_SOCKET", "the peer does not read what it is sent");
    }
    seal_gathered();
    seal(bytes);
    if (flush_some()) return;
    has_posted_ = true;
  }
  const uint64_t one = 1;
  static_cast<void>(::write(wake_.get(), &one, sizeof one));
}

bool Connection::rest(LinkClock::time_point until) {
  while (!stopped_ && LinkClock::now() < until) {
    pollfd entry{halt_.get(), POLLIN, 0};
    static_cast<void>(poll(&entry, 1, milliseconds_until(until)));
  }
  return !stopped_;
}

void Connection::stop() {
  stopped_ = true;
  const uint64_t one = 1;
  static_cast<void>(::write(halt_.get(), &one, sizeof one));
}

void Connection::say_end() noexcept {
  const std::lock_guard lock(mutex_);
  if (ssl_ != nullptr && SSL_is_init_finished(ssl_.get()) == 1) SSL_shutdown(ssl_.get());
  ERR_clear_error();
  if (sent_ < outgoing_.size()) {
    static_cast<void>(
        send(socket_.get(), outgoing_.data() + sent_, outgoing_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT));
  }
  shutdown(socket_.get(), SHUT_WR);
}

void Connection::finish(std::chrono::milliseconds at_most) noexcept {
  const LinkClock::time_point deadline = LinkClock::now() + at_most;
  try {
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        if (flush_some()) break;
      }
      pollfd entry{socket_.get(), POLLOUT, 0};
      if (poll(&entry, 1, milliseconds_until(deadline)) == 0) break;
    }
  } catch (const Error&) {
    // The peer is gone: there is nobody to tell.
  }
  say_end();
}

Connection::Wait Connection::wait(short events, std::optional<LinkClock::time_point> deadline) {
  std::array<pollfd, 3> entries{{{socket_.get(), events, 0}, {wake_.get(), POLLIN, 0}, {halt_.get(), POLLIN, 0}}};
  const int ready = poll(entries.data(), entries.size(), deadline ? milliseconds_until(*deadline) : kNeverMs);
  if (ready < 0 && errno != EINTR) fail_errno("KEMARI_LINK_SOCKET", "poll", "cannot wait for the peer");
  if (stopped_) return Wait::kStopped;
  if (ready > 0 && entries[1].revents != 0) {
    uint64_t count;
    static_cast<void>(::read(wake_.get(), &count, sizeof count));
  }
  if (ready == 0 && deadline && LinkClock::now() >= *deadline) return Wait::kTimedOut;
  return Wait::kReady;
}

}  // namespace kemari
