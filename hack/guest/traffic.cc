// Two kinds of traffic for clients that count: datagrams that come back, and a stream of blocks each way. Linked
// statically, so that any guest runs it.
//
//   traffic UDP_PORT TCP_PORT
//
// Each datagram is sent back as it came. On each TCP connection both sides send blocks of kBlockBytes, one every
// kIntervalMs, numbered from 1:
//
//   0  u64  number, little-endian
//   8  u32  CRC-32 (as zlib's) of what follows
//   12      kPayloadBytes
//
// Who gets a block that is not the next one, or is damaged, ends the connection at once. When the client has sent its
// last block it ends its direction; the guest then sends a last block with the number 0, whose payload begins with how
// many it got (u64), and closes. Each connection has a process of its own.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr size_t kHeaderBytes = 12;
constexpr size_t kPayloadBytes = 1012;
constexpr size_t kBlockBytes = kHeaderBytes + kPayloadBytes;
constexpr int64_t kIntervalMs = 20;
constexpr size_t kDatagramBytes = 2048;

using Block = std::array<uint8_t, kBlockBytes>;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int64_t now_ms() {
  timespec now;
  if (clock_gettime(CLOCK_MONOTONIC, &now) < 0) die("clock_gettime");
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

uint32_t crc32(const uint8_t* bytes, size_t count) {
  uint32_t crc = ~uint32_t{0};
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1)));
  }
  return ~crc;
}

void put(uint8_t* to, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) to[i] = static_cast<uint8_t>(value >> (8 * i));
}

uint64_t get(const uint8_t* from, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; i++) value |= uint64_t{from[i]} << (8 * i);
  return value;
}

// Payloads differ from block to block, and within one.
Block make_block(uint64_t number) {
  Block block;
  for (size_t i = 0; i < kPayloadBytes; i++) block[kHeaderBytes + i] = static_cast<uint8_t>(number * 31 + i * 7);
  put(block.data(), number, 8);
  return block;
}

void seal(Block& block) {
  put(block.data() + 8, crc32(block.data() + kHeaderBytes, kPayloadBytes), 4);
}

// One connection: what comes is checked, what goes is paced.
class Stream {
 public:
  explicit Stream(int peer) : peer_(peer) {}

  // Returns when the connection has ended as it should; anything else ends the process, and the connection with it.
  void serve() {
    while (true) {
      if (!sending_) next_block();
      if (!sending_ && said_last_) return;
      pollfd ready{.fd = peer_, .events = 0, .revents = 0};
      if (!heard_all_) ready.events |= POLLIN;
      if (sending_) ready.events |= POLLOUT;
      const int64_t wait = sending_ ? -1 : std::max<int64_t>(0, due_ms_ - now_ms());
      if (poll(&ready, 1, static_cast<int>(wait)) < 0) die("poll");
      if ((ready.revents & (POLLERR | POLLNVAL)) != 0) die("the connection broke");
      if ((ready.revents & (POLLIN | POLLHUP)) != 0 && !heard_all_) hear();
      if ((ready.revents & POLLOUT) != 0) say();
    }
  }

 private:
  void next_block() {
    if (heard_all_ && !said_last_) {
      out_ = make_block(0);
      put(out_.data() + kHeaderBytes, heard_, 8);
      said_last_ = true;
    } else if (!said_last_ && now_ms() >= due_ms_) {
      out_ = make_block(++said_);
      due_ms_ = now_ms() + kIntervalMs;
    } else {
      return;
    }
    seal(out_);
    out_at_ = 0;
    sending_ = true;
  }

  void say() {
    const ssize_t done = write(peer_, out_.data() + out_at_, out_.size() - out_at_);
    if (done < 0) {
      if (errno == EAGAIN) return;
      die("write");
    }
    out_at_ += static_cast<size_t>(done);
    sending_ = out_at_ < out_.size();
  }

  void hear() {
    const ssize_t got = read(peer_, in_.data() + in_at_, in_.size() - in_at_);
    if (got < 0) {
      if (errno == EAGAIN) return;
      die("read");
    }
    if (got == 0) {
      if (in_at_ != 0) die("the stream ended within a block");
      heard_all_ = true;
      return;
    }
    in_at_ += static_cast<size_t>(got);
    if (in_at_ < in_.size()) return;
    in_at_ = 0;
    if (get(in_.data(), 8) != ++heard_) die("a block out of order");
    if (get(in_.data() + 8, 4) != crc32(in_.data() + kHeaderBytes, kPayloadBytes)) die("a damaged block");
  }

  int peer_;
  Block in_;
  Block out_;
  size_t in_at_ = 0;
  size_t out_at_ = 0;
  uint64_t heard_ = 0;
  uint64_t said_ = 0;
  int64_t due_ms_ = 0;
  bool sending_ = false;
  bool heard_all_ = false;
  bool said_last_ = false;
};

int bound(int type, const char* port) {
  const int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  const int on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) die("SO_REUSEADDR");
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_port = htons(static_cast<uint16_t>(std::atoi(port)));
  here.sin_addr.s_addr = htonl(INADDR_ANY);
  // SAFETY: bind() takes every kind of address by its common head.
  if (bind(fd, reinterpret_cast<const sockaddr*>(&here), sizeof here) < 0) die("bind");
  return fd;
}

[[noreturn]] void send_back(int fd) {
  std::array<uint8_t, kDatagramBytes> datagram;
  while (true) {
    sockaddr_in from;
    socklen_t size = sizeof from;
    // SAFETY: as bind().
    auto* address = reinterpret_cast<sockaddr*>(&from);
    const ssize_t got = recvfrom(fd, datagram.data(), datagram.size(), 0, address, &size);
    // A datagram that cannot be sent is one that was lost.
    if (got >= 0) (void)!sendto(fd, datagram.data(), static_cast<size_t>(got), 0, address, size);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: traffic UDP_PORT TCP_PORT\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_IGN);  // Nobody waits for those that serve.
  const int datagrams = bound(SOCK_DGRAM, argv[1]);
  const pid_t echo = fork();
  if (echo < 0) die("fork");
  if (echo == 0) send_back(datagrams);
  close(datagrams);
  const int listener = bound(SOCK_STREAM, argv[2]);
  if (listen(listener, SOMAXCONN) < 0) die("listen");
  while (true) {
    const int peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (peer < 0) continue;
    const pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
      close(listener);
      const int on = 1;
      if (setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) die("TCP_NODELAY");
      Stream(peer).serve();
      return 0;
    }
    close(peer);
  }
}
