#include "napi_host.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "capture/kernel_abi.h"
#include "memory/guest_memory.h"
#include "napi_error.h"
#include "napi_options.h"
#include "unique_fd.h"

namespace kemari {

namespace {

constexpr int64_t kMaxSafeInteger = (1ll << 53) - 1;

bool has_io_uring() {
  io_uring ring;
  if (io_uring_queue_init(1, &ring, 0) != 0) return false;
  io_uring_queue_exit(&ring);
  return true;
}

bool has_pagemap_scan() {
  const UniqueFd pagemap(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) return false;
  kernel::PagemapScan argument{};  // an empty range: asks only whether the request is known
  argument.size = sizeof argument;
  return ioctl(pagemap.get(), kernel::kPagemapScan, &argument) == 0;
}

bool has_wp_async() {
  const UniqueFd fault(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
  if (!fault.valid()) return false;
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = kernel::kUffdWpAsync;
  return ioctl(fault.get(), UFFDIO_API, &api) == 0;
}

bool has_tun() {
  return UniqueFd(open("/dev/net/tun", O_RDWR | O_CLOEXEC)).valid();
}

int fd_argument(const Napi::Value& value) {
  if (!value.IsNumber()) fail("KEMARI_ARGUMENT", "a file descriptor is expected");
  return value.As<Napi::Number>().Int32Value();
}

// createRam(name, sizeBytes): fd. It can neither shrink nor grow, so no one who has it can take memory from us.
Napi::Value create_ram(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    if (!info[0].IsString() || !info[1].IsNumber()) fail("KEMARI_ARGUMENT", "createRam needs a name and a size");
    const std::string name = info[0].As<Napi::String>().Utf8Value();
    const int64_t size = info[1].As<Napi::Number>().Int64Value();
    if (size <= 0 || size > kMaxSafeInteger) fail("KEMARI_ARGUMENT", "createRam needs a size larger than 0");
    UniqueFd fd(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd.valid()) fail_errno("KEMARI_RAM_CREATE", "memfd_create", "cannot create guest memory");
    if (ftruncate(fd.get(), size) != 0) fail_errno("KEMARI_RAM_CREATE", "ftruncate", "cannot size guest memory");
    if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
      fail_errno("KEMARI_RAM_CREATE", "fcntl", "cannot seal guest memory");
    }
    return Napi::Number::New(info.Env(), fd.release());
  });
}

Napi::Value socket_pair(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    std::array<int, 2> fds;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) {
      fail_errno("KEMARI_SOCKET_PAIR", "socketpair", "cannot create a pair of sockets");
    }
    Napi::Array pair = Napi::Array::New(info.Env(), 2);
    pair.Set(0u, fds[0]);
    pair.Set(1u, fds[1]);
    return pair;
  });
}

// tryLock(fd): whether the open file is now locked for us alone.
Napi::Value try_lock(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    int result;
    do result = flock(fd_argument(info[0]), LOCK_EX | LOCK_NB);
    while (result != 0 && errno == EINTR);
    if (result != 0 && errno != EWOULDBLOCK) fail_errno("KEMARI_LOCK", "flock", "cannot lock a file");
    return Napi::Boolean::New(info.Env(), result == 0);
  });
}

// takeDirty(ramFd): the pages that our devices wrote since the last call, as [{first, count}] in pages of the file.
Napi::Value take_dirty(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const std::vector<PageRange> ranges = RamFile::map(fd_argument(info[0]))->dirty().take();
    Napi::Array array = Napi::Array::New(info.Env(), ranges.size());
    for (uint32_t i = 0; i < ranges.size(); i++) {
      Napi::Object range = Napi::Object::New(info.Env());
      range.Set("first", Napi::Number::New(info.Env(), static_cast<double>(ranges[i].first)));
      range.Set("count", Napi::Number::New(info.Env(), static_cast<double>(ranges[i].count)));
      array.Set(i, range);
    }
    return array;
  });
}

Napi::Value probe_host(const Napi::CallbackInfo& info) {
  Napi::Object probe = Napi::Object::New(info.Env());
  probe.Set("ioUring", has_io_uring());
  probe.Set("pagemapScan", has_pagemap_scan());
  probe.Set("userfaultfdWpAsync", has_wp_async());
  probe.Set("tun", has_tun());
  return probe;
}

// readTsc(): the time stamp counter and CLOCK_MONOTONIC_RAW in nanoseconds, as close to each other as can be.
Napi::Value read_tsc(const Napi::CallbackInfo& info) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  const uint64_t ticks = __rdtsc();
  constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;
  const uint64_t nanoseconds =
      static_cast<uint64_t>(now.tv_sec) * kNanosecondsPerSecond + static_cast<uint64_t>(now.tv_nsec);
  Napi::Object reading = Napi::Object::New(info.Env());
  reading.Set("ticks", Napi::BigInt::New(info.Env(), ticks));
  reading.Set("nanoseconds", Napi::BigInt::New(info.Env(), nanoseconds));
  return reading;
}

}  // namespace

void define_host(Napi::Env env, Napi::Object exports) {
  exports.Set("createRam", Napi::Function::New(env, create_ram, "createRam"));
  exports.Set("socketPair", Napi::Function::New(env, socket_pair, "socketPair"));
  exports.Set("tryLock", Napi::Function::New(env, try_lock, "tryLock"));
  exports.Set("readTsc", Napi::Function::New(env, read_tsc, "readTsc"));
  exports.Set("takeDirty", Napi::Function::New(env, take_dirty, "takeDirty"));
  exports.Set("probeHost", Napi::Function::New(env, probe_host, "probeHost"));
}

}  // namespace kemari
