// System calls that Node has no name for, for tests that play a front-end and a guest. No logic here: the tests decide.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <napi.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "blkif_ring.h"
#include "checkpoint_image.h"
#include "checkpoints.h"
#include "netif_rings.h"
#include "tls_pump.h"

namespace {

constexpr size_t kMaxFds = 253;  // SCM_MAX_FD of Linux

[[noreturn]] void throw_errno(Napi::Env env, const char* system_call) {
  const int number = errno;
  Napi::Error error = Napi::Error::New(env, std::string(system_call) + ": " + std::strerror(number));
  error.Set("errno", Napi::Number::New(env, number));
  error.Set("syscall", Napi::String::New(env, system_call));
  throw error;
}

int int_at(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

// Waits for `events` of `fd`; false when the deadline passed first.
bool wait_for(Napi::Env env, int fd, short events, int timeout_ms) {
  pollfd entry{fd, events, 0};
  int ready;
  do ready = poll(&entry, 1, timeout_ms);
  while (ready < 0 && errno == EINTR);
  if (ready < 0) throw_errno(env, "poll");
  return ready > 0;
}

// memfd(name: string, sizeBytes: number): fd
Napi::Value memory_file(const Napi::CallbackInfo& info) {
  const int fd = memfd_create(info[0].As<Napi::String>().Utf8Value().c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) throw_errno(info.Env(), "memfd_create");
  if (ftruncate(fd, info[1].As<Napi::Number>().Int64Value()) != 0) {
    close(fd);
    throw_errno(info.Env(), "ftruncate");
  }
  return Napi::Number::New(info.Env(), fd);
}

// map(fd, sizeBytes): ArrayBuffer over the shared mapping; unmapped when it is collected.
Napi::Value map(const Napi::CallbackInfo& info) {
  const auto size = static_cast<size_t>(info[1].As<Napi::Number>().Int64Value());
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, int_at(info, 0), 0);
  if (data == MAP_FAILED) throw_errno(info.Env(), "mmap");
  return Napi::ArrayBuffer::New(info.Env(), data, size, [size](Napi::Env, void* address) { munmap(address, size); });
}

// eventFd(): fd
Napi::Value event_fd(const Napi::CallbackInfo& info) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw_errno(info.Env(), "eventfd");
  return Napi::Number::New(info.Env(), fd);
}

// readEvent(fd, timeoutMs): the counter, 0 when the deadline passed first.
Napi::Value read_event(const Napi::CallbackInfo& info) {
  uint64_t count = 0;
  if (wait_for(info.Env(), int_at(info, 0), POLLIN, int_at(info, 1))) {
    if (read(int_at(info, 0), &count, sizeof count) < 0 && errno != EAGAIN) throw_errno(info.Env(), "read");
  }
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

// writeEvent(fd): adds one.
void write_event(const Napi::CallbackInfo& info) {
  const uint64_t one = 1;
  if (write(int_at(info, 0), &one, sizeof one) < 0) throw_errno(info.Env(), "write");
}

// socketPair(): [fd, fd], stream, close-on-exec.
Napi::Value socket_pair(const Napi::CallbackInfo& info) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) throw_errno(info.Env(), "socketpair");
  Napi::Array pair = Napi::Array::New(info.Env(), 2);
  pair.Set(0u, Napi::Number::New(info.Env(), fds[0]));
  pair.Set(1u, Napi::Number::New(info.Env(), fds[1]));
  return pair;
}

// sendMessage(fd, bytes: Uint8Array, fds: number[]): bytes sent. The descriptors stay the caller's.
Napi::Value send_message(const Napi::CallbackInfo& info) {
  auto bytes = info[1].As<Napi::Uint8Array>();
  const auto list = info[2].As<Napi::Array>();
  std::vector<int> fds;
  for (uint32_t i = 0; i < list.Length(); ++i) fds.push_back(list.Get(i).As<Napi::Number>().Int32Value());
  iovec vector{bytes.Data(), bytes.ByteLength()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)] = {};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    const size_t count = std::min(fds.size(), kMaxFds);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * count);
  }
  const ssize_t sent = sendmsg(int_at(info, 0), &message, MSG_NOSIGNAL);
  if (sent < 0) throw_errno(info.Env(), "sendmsg");
  return Napi::Number::New(info.Env(), static_cast<double>(sent));
}

// receiveMessage(fd, maxBytes, timeoutMs): {bytes, fds}, or null when the deadline passed first. No bytes: end of file.
Napi::Value receive_message(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!wait_for(env, int_at(info, 0), POLLIN, int_at(info, 2))) return env.Null();
  std::vector<uint8_t> buffer(static_cast<size_t>(int_at(info, 1)));
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)];
  iovec vector{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  int domain = AF_UNIX;
  socklen_t length = sizeof domain;
  if (getsockopt(int_at(info, 0), SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) throw_errno(env, "getsockopt");
  // Packet sockets know no MSG_CMSG_CLOEXEC.
  ssize_t got = recvmsg(int_at(info, 0), &message, domain == AF_UNIX ? MSG_CMSG_CLOEXEC : 0);
  if (got < 0 && errno == ECONNRESET) got = 0;  // closed with our bytes unread: an end all the same
  if (got < 0) throw_errno(env, "recvmsg");
  Napi::Array fds = Napi::Array::New(env);
  uint32_t next = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      fds.Set(next++, Napi::Number::New(env, fd));
    }
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("bytes", Napi::Buffer<uint8_t>::Copy(env, buffer.data(), static_cast<size_t>(got)));
  result.Set("fds", fds);
  return result;
}

// packetSocket(interface: string, vnetHeader: boolean): fd of a raw packet socket on that interface.
Napi::Value packet_socket(const Napi::CallbackInfo& info) {
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
  if (fd < 0) throw_errno(info.Env(), "socket");
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(if_nametoindex(info[0].As<Napi::String>().Utf8Value().c_str()));
  const int vnet_header = info[1].As<Napi::Boolean>().Value() ? 1 : 0;
  if (address.sll_ifindex == 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &vnet_header, sizeof vnet_header) != 0 ||
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    close(fd);
    throw_errno(info.Env(), "packet socket");
  }
  return Napi::Number::New(info.Env(), fd);
}

// unshareNetwork(): this thread, and what it starts from now on, has an empty network of its own.
void unshare_network(const Napi::CallbackInfo& info) {
  if (unshare(CLONE_NEWNET) != 0) throw_errno(info.Env(), "unshare");
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("memoryFile", Napi::Function::New<memory_file>(env));
  exports.Set("map", Napi::Function::New<map>(env));
  exports.Set("eventFd", Napi::Function::New<event_fd>(env));
  exports.Set("readEvent", Napi::Function::New<read_event>(env));
  exports.Set("writeEvent", Napi::Function::New<write_event>(env));
  exports.Set("socketPair", Napi::Function::New<socket_pair>(env));
  exports.Set("sendMessage", Napi::Function::New<send_message>(env));
  exports.Set("receiveMessage", Napi::Function::New<receive_message>(env));
  exports.Set("packetSocket", Napi::Function::New<packet_socket>(env));
  exports.Set("unshareNetwork", Napi::Function::New<unshare_network>(env));
  define_checkpoints(env, exports);
  define_tls_pump(env, exports);
  define_blkif_ring(env, exports);
  define_netif_rings(env, exports);
  define_checkpoint_image(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(kemari_testing, initialize)
