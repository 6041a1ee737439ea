// Whole vhost-user messages over a Unix stream socket, with their file descriptors. Never blocks: a front-end that
// sends half a message leaves the rest of the device undisturbed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ring/vhost_user_protocol.h"
#include "unique_fd.h"

namespace kemari {

class VhostUserSocket {
 public:
  enum class Receive : uint8_t { kMessage = 1, kNothingYet = 2, kClosed = 3 };

  // Throws KEMARI_VHOST_USER_SOCKET for anything but a Unix socket.
  explicit VhostUserSocket(UniqueFd socket);

  // Reads on. After kMessage the accessors below describe a message whose header was checked, until the next call.
  // kClosed: the peer closed between two messages. Throws KEMARI_VHOST_USER_... for what breaks the rules: in the
  // middle of a message KEMARI_VHOST_USER_TRUNCATED, for more descriptors than any message has KEMARI_VHOST_USER_FDS.
  Receive receive();
  const VhostUserHeader& header() const noexcept { return header_; }
  std::span<const uint8_t> payload() const noexcept { return std::span(payload_).first(header_.size); }
  // Those that came with the message, in order; closed by the next receive() unless taken.
  std::vector<UniqueFd>& fds() noexcept { return fds_; }

  // Answers a request. Throws KEMARI_VHOST_USER_SOCKET when the front-end does not take it at once: it asked for it.
  void reply(uint32_t request, std::span<const uint8_t> payload, int fd = -1);

  int fd() const noexcept { return socket_.get(); }
  // Ends the connection; the peer sees the end of file.
  void close() noexcept;

 private:
  // Reads up to `size` bytes to `to`; 0: nothing there, or the end (then `ended_`).
  size_t read(uint8_t* to, size_t size);

  UniqueFd socket_;
  VhostUserHeader header_{};
  std::array<uint8_t, kVhostUserMaxPayloadBytes> payload_{};
  std::vector<UniqueFd> fds_;
  size_t received_ = 0;  // bytes of the message so far, header included
  bool complete_ = false;
  bool ended_ = false;
};

}  // namespace kemari
