// A vhost-user front-end for fuzz targets, and how a device lives under one.
#pragma once

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <vector>

#include "guest.h"
#include "ring/ring_device.h"

namespace kemari::fuzz {

inline constexpr uint16_t kQueueSize = 16;
inline constexpr size_t kMaxMessages = 64;  // their replies fit into the socket's buffer, unread

// Turns in which a device has to notice that its front-end went away: far more than it ever needs.
inline constexpr int kTurnsToEnd = 1000;

// What the device tells its owner; the input is used up once it says that the connection has ended.
class Ending {
 public:
  void on_event(const DeviceEvent& event) {
    if (event.type != DeviceEvent::Type::kDisconnected && event.type != DeviceEvent::Type::kProtocolError) return;
    const std::lock_guard lock(mutex_);
    has_come_ = true;
    changed_.notify_all();
  }
  bool has_come() {
    const std::lock_guard lock(mutex_);
    return has_come_;
  }
  void wait() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(8), [this] { return has_come_; })) never_came();
  }
  [[noreturn]] static void never_came() {
    std::fprintf(stderr, "the device did not notice that its front-end went away\n");
    std::abort();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_come_ = false;
};

// The front-end: owns the socket's other end and the descriptors that it sends.
class FrontEnd {
 public:
  FrontEnd(int socket, int ram) : socket_(socket), ram_(ram) {}

  void send(std::span<const uint8_t> bytes, uint8_t descriptors) {
    if (bytes.empty() || ++sent_ > kMaxMessages) return;
    std::vector<int> fds;
    for (int i = 0; i < (descriptors & 15); ++i) fds.push_back((descriptors & 16) != 0 ? ram_ : kick_.get());
    iovec vector{const_cast<uint8_t*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)] = {};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
      std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
    }
    static_cast<void>(sendmsg(socket_, &message, MSG_NOSIGNAL));  // the device may have closed by now: its right
  }

  void message(uint32_t request, std::vector<uint8_t> payload, uint8_t descriptors, uint32_t flags = 1,
               int32_t size_lie = 0) {
    std::vector<uint8_t> bytes(12);
    const uint32_t header[3] = {request, flags, static_cast<uint32_t>(payload.size()) + size_lie};
    std::memcpy(bytes.data(), header, sizeof header);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    send(bytes, descriptors);
  }

  void kick() {
    const uint64_t one = 1;
    static_cast<void>(!write(kick_.get(), &one, sizeof one));
  }

 private:
  int socket_;
  int ram_;
  UniqueFd kick_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  size_t sent_ = 0;
};

template <typename... T>
std::vector<uint8_t> pack(T... values) {
  std::vector<uint8_t> bytes;
  const auto append = [&bytes](auto value) {
    const auto* raw = reinterpret_cast<const uint8_t*>(&value);
    bytes.insert(bytes.end(), raw, raw + sizeof value);
  };
  (append(values), ...);
  return bytes;
}

inline std::vector<uint8_t> memory_table() {
  return pack(uint32_t{2}, uint32_t{0}, uint64_t{0}, kHalfBytes, kFrontEndBase, uint64_t{0}, kHighGpa, kHalfBytes,
              kFrontEndBase + kHighGpa, kHalfBytes);
}

inline std::vector<uint8_t> queue_addresses(uint32_t index) {
  return pack(index, uint32_t{0}, kFrontEndBase + kDescriptorGpa, kFrontEndBase + kUsedGpa,
              kFrontEndBase + kAvailableGpa, uint64_t{0});
}

// A device with one queue, started as a guest's driver starts it.
inline void set_up(FrontEnd& front_end, uint64_t device_features) {
  front_end.message(2, pack(0x170000000 | device_features), 0);  // SET_FEATURES: VERSION_1, all that the ring has
  front_end.message(16, pack(uint64_t{0x9209}), 0);              // SET_PROTOCOL_FEATURES
  front_end.message(5, memory_table(), 2 | 16);
  front_end.message(8, pack(uint32_t{0}, uint32_t{kQueueSize}), 0);
  front_end.message(10, pack(uint32_t{0}, uint32_t{0}), 0);
  front_end.message(9, queue_addresses(0), 0);
  front_end.message(13, pack(uint64_t{0}), 1);
  front_end.message(12, pack(uint64_t{0}), 1);
  front_end.message(18, pack(uint32_t{0}, uint32_t{1}), 0);
}

// The ring thread is this one: a thread for each input would take longer than all that it does.
template <typename Device>
void run_here(Device& device, Ending& ending, const std::function<bool()>& play) {
  int turns_left = kTurnsToEnd;
  device.run_here([&] {
    if (ending.has_come()) return false;
    if (!play() && turns_left-- == 0) Ending::never_came();
    return true;
  });
}

// A thread of its own, for ThreadSanitizer.
template <typename Device>
void run_beside(Device& device, Ending& ending, const std::function<bool()>& play) {
  device.start();
  while (play()) continue;
  ending.wait();
  device.stop();
}

template <typename Device>
void run_device(Device& device, Ending& ending, const std::function<bool()>& play) {
#if __has_feature(thread_sanitizer)
  run_beside(device, ending, play);
#else
  run_here(device, ending, play);
#endif
}

}  // namespace kemari::fuzz
