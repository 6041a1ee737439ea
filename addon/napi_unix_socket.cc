#include "napi_unix_socket.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include "error.h"
#include "napi_error.h"
#include "unique_fd.h"

namespace kemari {
namespace {

constexpr int kBacklog = 1;  // one connection is expected of each socket

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    fail("KEMARI_SOCKET", "socket path " + path + " has " + std::to_string(path.size()) + " bytes; at most " +
                              std::to_string(sizeof(address.sun_path) - 1) + " are possible");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd listen_unix(const std::string& path) {
  const sockaddr_un address = address_of(path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) fail_errno("KEMARI_SOCKET", "socket", "cannot make a Unix socket");
  // SAFETY: the sockets API takes every address as a sockaddr.
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    fail_errno("KEMARI_SOCKET", "bind", "cannot bind " + path);
  }
  if (::listen(fd.get(), kBacklog) != 0) fail_errno("KEMARI_SOCKET", "listen", "cannot listen on " + path);
  return fd;
}

// Blocking, as QEMU's monitors want it; connecting to a listener on this host never waits.
UniqueFd connect_unix(const std::string& path) {
  const sockaddr_un address = address_of(path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) fail_errno("KEMARI_SOCKET", "socket", "cannot make a Unix socket");
  // SAFETY: as above.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    fail_errno("KEMARI_SOCKET", "connect", "cannot connect to " + path);
  }
  return fd;
}

// The next connection, or an invalid descriptor when nobody has connected.
UniqueFd accept_unix(int listener) {
  UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid() && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNABORTED) {
    fail_errno("KEMARI_SOCKET", "accept4", "cannot accept a connection");
  }
  return fd;
}

Napi::Value listen_unix_call(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), listen_unix(info[0].ToString().Utf8Value()).release());
  });
}

Napi::Value connect_unix_call(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), connect_unix(info[0].ToString().Utf8Value()).release());
  });
}

Napi::Value accept_unix_call(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), accept_unix(info[0].ToNumber().Int32Value()).release());
  });
}

}  // namespace

void define_unix_socket(Napi::Env env, Napi::Object exports) {
  exports.Set("listenUnix", Napi::Function::New(env, listen_unix_call, "listenUnix"));
  exports.Set("connectUnix", Napi::Function::New(env, connect_unix_call, "connectUnix"));
  exports.Set("acceptUnix", Napi::Function::New(env, accept_unix_call, "acceptUnix"));
}

}  // namespace kemari
