// One connected, byte-oriented TCP connection of the link, secured by TLS or plain.
#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "link/psk_session.h"
#include "unique_fd.h"

namespace kemari {

using LinkClock = std::chrono::steady_clock;

// One thread reads, any thread writes. What fails throws kemari::Error: KEMARI_LINK_CLOSED (the peer ended it),
// KEMARI_LINK_SOCKET, KEMARI_LINK_TLS; the connection is of no more use then.
class Connection {
 public:
  // Takes the socket over. Without `secret` it is plain. Throws KEMARI_LINK_SOCKET, KEMARI_LINK_TLS.
  Connection(UniqueFd socket, std::optional<PskSecret> secret, bool is_client);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Blocks until the peer has proved itself; false when stopped. Throws KEMARI_LINK_TIMEOUT at the deadline,
  // KEMARI_LINK_KEY when the peer has another key or means another connection, KEMARI_LINK_TLS for other refusals.
  bool secure(LinkClock::time_point deadline);

  // Blocks until there is something to read; what post() left is sent meanwhile. Returns the bytes that came, 0 when
  // stopped.
  size_t read(std::span<uint8_t> into);
  // The same up to a deadline; nullopt: it passed.
  std::optional<size_t> read(std::span<uint8_t> into, LinkClock::time_point deadline);
  // Blocks until all of `into` is there; false when stopped.
  bool read_all(std::span<uint8_t> into);

  // Sends `bytes` after all that was sent before; blocks while the peer does not take them. With `more`, bytes may stay
  // here until the next write, so that small pieces travel together. False when stopped.
  bool write(std::span<const uint8_t> bytes, bool more);
  // The same without blocking: what the socket does not take now is sent while the reader waits. Throws
  // KEMARI_LINK_SOCKET when more than kMaxPostedBytes would be waiting: the peer does not read.
  void post(std::span<const uint8_t> bytes);

  // Waits without looking at the connection; false when stopped.
  bool rest(LinkClock::time_point until);

  // Makes every blocked call return, now and later. Any thread.
  void stop();
  // Tells the peer that nothing more comes, as far as that goes without blocking.
  void say_end() noexcept;
  // The same, and waits until what was posted is in the socket's hands, or failed to get there in time. Also after
  // stop(); nobody reads any more.
  void finish(std::chrono::milliseconds at_most) noexcept;

  static constexpr size_t kMaxPostedBytes = 256 << 10;

 private:
  static constexpr size_t kGatherBytes = 16 << 10;  // one TLS record
  static constexpr size_t kFlushBytes = 128 << 10;  // one system call

  enum class Wait { kReady, kStopped, kTimedOut };

  static const BIO_METHOD* bio_method();
  static int bio_write(BIO* bio, const char* data, size_t size, size_t* written);
  static int bio_read(BIO* bio, char* into, size_t size, size_t* count);
  static long bio_control(BIO* bio, int command, long number, void* pointer);

  // These are called with mutex_ held.
  std::optional<size_t> read_some(std::span<uint8_t> into);  // nullopt: nothing there
  std::optional<size_t> receive(std::span<uint8_t> into);
  void seal(std::span<const uint8_t> bytes);  // encrypts into outgoing_
  void seal_gathered();
  bool flush_some();  // whether outgoing_ is empty now
  [[noreturn]] void tls_failed(const char* what);

  bool flush();
  Wait wait(short events, std::optional<LinkClock::time_point> deadline);

  UniqueFd socket_;
  UniqueFd wake_;  // post() left something for the reader to send
  UniqueFd halt_;  // readable for good once stopped
  std::atomic<bool> stopped_{false};
  std::mutex write_turn_;  // of write() and post(): records do not mix
  std::mutex mutex_;       // of what follows; OpenSSL's session knows one thread at a time
  UniqueSsl ssl_;
  std::vector<uint8_t> gathered_;  // clear bytes that wait for a full TLS record
  std::vector<uint8_t> outgoing_;  // [sent_, end) has to go to the socket
  size_t sent_ = 0;
  std::atomic<bool> has_posted_{false};
  int socket_error_ = 0;  // of the last call through the BIO
};

}  // namespace kemari
