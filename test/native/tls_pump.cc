#include "tls_pump.h"

#include <fcntl.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "link/psk_session.h"
#include "napi_promise.h"
#include "unique_fd.h"

namespace {

constexpr size_t kPieceBytes = 16 << 10;  // one TLS record

kemari::UniqueSsl session(int fd, const kemari::LinkKey& key, bool is_client) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0) {
    kemari::fail_errno("KEMARI_ARGUMENT", "fcntl", "no descriptor of a socket");
  }
  kemari::UniqueSsl ssl = kemari::make_psk_session({key, "pump"}, is_client);
  if (SSL_set_fd(ssl.get(), fd) != 1 || SSL_do_handshake(ssl.get()) != 1) {
    kemari::fail("KEMARI_ARGUMENT", "the pump's handshake failed: " + kemari::take_tls_failure().text);
  }
  return ssl;
}

void check(bool worked) {
  if (!worked) kemari::fail("KEMARI_ARGUMENT", "the pump stopped: " + kemari::take_tls_failure().text);
}

// Sends `total` bytes from memory that is too large for the caches, and waits for the one byte that says that all came.
void pump_out(int fd, const kemari::LinkKey& key, uint64_t total) {
  const kemari::UniqueFd owned(fd);
  const kemari::UniqueSsl ssl = session(fd, key, true);
  std::vector<uint8_t> source(64 << 20, 0x5a);
  for (uint64_t sent = 0; sent < total; sent += kPieceBytes) {
    size_t count;
    check(SSL_write_ex(ssl.get(), source.data() + sent % source.size(), kPieceBytes, &count) == 1);
  }
  uint8_t done;
  size_t count;
  check(SSL_read_ex(ssl.get(), &done, 1, &count) == 1);
}

void pump_in(int fd, const kemari::LinkKey& key, uint64_t total) {
  const kemari::UniqueFd owned(fd);
  const kemari::UniqueSsl ssl = session(fd, key, false);
  std::vector<uint8_t> into(kPieceBytes);
  size_t count;
  for (uint64_t got = 0; got < total; got += count) {
    check(SSL_read_ex(ssl.get(), into.data(), into.size(), &count) == 1);
  }
  check(SSL_write_ex(ssl.get(), into.data(), 1, &count) == 1);
}

// pumpOut(fd, key, bytes), pumpIn(fd, key, bytes): Promise<void>. The descriptor is closed in the end.
template <void Pump(int, const kemari::LinkKey&, uint64_t)>
Napi::Value run_pump(const Napi::CallbackInfo& info) {
  const int fd = info[0].As<Napi::Number>().Int32Value();
  kemari::LinkKey key;
  std::copy_n(info[1].As<Napi::Buffer<uint8_t>>().Data(), key.size(), key.begin());
  const auto total = static_cast<uint64_t>(info[2].As<Napi::Number>().Int64Value());
  return kemari::PromiseJob::run(info.Env(), [fd, key, total] { Pump(fd, key, total); });
}

}  // namespace

void define_tls_pump(Napi::Env env, Napi::Object exports) {
  exports.Set("pumpOut", Napi::Function::New(env, run_pump<pump_out>));
  exports.Set("pumpIn", Napi::Function::New(env, run_pump<pump_in>));
}
