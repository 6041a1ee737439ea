#include "ring/vhost_user_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>
#include <utility>

#include "error.h"
#include "ring/vhost_user_message.h"

namespace kemari {

VhostUserSocket::VhostUserSocket(UniqueFd socket) : socket_(std::move(socket)) {
  fds_.reserve(kVhostUserMaxFds);
}

VhostUserSocket::Receive VhostUserSocket::receive() {
  if (std::exchange(complete_, false)) {
    received_ = 0;
    fds_.clear();
  }
  while (!ended_) {
    // The header by itself first: a longer read could run into the next message, whose descriptors would be taken for
    // this one's.
    const bool in_header = received_ < sizeof header_;
    const size_t end = in_header ? sizeof header_ : sizeof header_ + header_.size;
    if (received_ == end) {
      complete_ = true;
      return Receive::kMessage;
    }
    uint8_t* to =
        in_header ? reinterpret_cast<uint8_t*>(&header_) + received_ : payload_.data() + (received_ - sizeof header_);
    const size_t count = read(to, end - received_);
    if (count == 0 && !ended_) return Receive::kNothingYet;
    received_ += count;
    if (in_header && received_ == sizeof header_) check_vhost_user_header(header_);
  }
  if (received_ != 0) fail("KEMARI_VHOST_USER_TRUNCATED", "the front-end closed in the middle of a vhost-user message");
  return Receive::kClosed;
}

size_t VhostUserSocket::read(uint8_t* to, size_t size) {
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(kVhostUserMaxFds * sizeof(int))> control;
  iovec piece{to, size};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t count;
  do count = recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (count < 0 && errno == EINTR);
  if (count < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return 0;
    // A peer that died with unread data resets the connection; that is an end like any other.
    if (errno != ECONNRESET) fail_errno("KEMARI_VHOST_USER_SOCKET", "recvmsg", "cannot read from the front-end");
    count = 0;
  }
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = 0; at + sizeof(int) <= part->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + at, sizeof fd);
      fds_.emplace_back(fd);
    }
  }
  // The kernel has dropped what did not fit; what did is ours to close.
  if ((message.msg_flags & MSG_CTRUNC) != 0 || fds_.size() > kVhostUserMaxFds) {
    fds_.clear();
    fail("KEMARI_VHOST_USER_FDS",
         "a vhost-user message came with more than " + std::to_string(kVhostUserMaxFds) + " file descriptors");
  }
  if (count == 0) ended_ = true;
  return static_cast<size_t>(count);
}

void VhostUserSocket::reply(uint32_t request, std::span<const uint8_t> payload, int fd) {
  VhostUserHeader header{request, kVhostUserVersion | kVhostUserReplyFlag, static_cast<uint32_t>(payload.size())};
  iovec pieces[] = {{&header, sizeof header}, {const_cast<uint8_t*>(payload.data()), payload.size()}};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(int))> control{};
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(part), &fd, sizeof fd);
  }
  ssize_t count;
  do count = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (count < 0 && errno == EINTR);
  if (count < 0) fail_errno("KEMARI_VHOST_USER_SOCKET", "sendmsg", "the front-end does not take a reply");
  if (static_cast<size_t>(count) != sizeof header + payload.size()) {
    fail("KEMARI_VHOST_USER_SOCKET", "the front-end takes only part of a reply");
  }
}

void VhostUserSocket::close() noexcept {
  fds_.clear();
  // A poll that is still armed keeps the socket open; the shutdown shows the end to the peer at once.
  if (socket_.valid()) shutdown(socket_.get(), SHUT_RDWR);
  socket_.reset();
  ended_ = true;
}

}  // namespace kemari
