#include "ring/disk/nbd_connection.h"

#include <libnbd.h>

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "error.h"
#include "ring/disk/virtio_blk.h"

namespace kemari {
namespace {

constexpr uint64_t kDefaultMaxRequestBytes = 32ull << 20;  // what the NBD protocol promises where a server says nothing
constexpr std::chrono::milliseconds kPollStep{250};        // how soon a connection attempt notices that it is to stop

[[noreturn]] void fail_nbd(const std::string& uri, const std::string& what) {
  const char* found = ::nbd_get_error();
  const int error = ::nbd_get_errno();
  throw Error("KEMARI_NBD_CONNECT",
              "NBD disk " + uri + ": " + what + ": " + (found != nullptr ? found : "unknown error") +
                  "; check that the server runs, that this host reaches it and that the export exists",
              error, "libnbd");
}

}  // namespace

NbdConnection::NbdConnection(const std::string& uri, std::chrono::milliseconds timeout,
                             const std::function<bool()>& stopped)
    : handle_(::nbd_create()) {
  if (handle_ == nullptr) fail_nbd(uri, "cannot make a client");
  try {
    connect(uri, timeout, stopped);
    measure(uri);
  } catch (...) {
    ::nbd_close(handle_);
    throw;
  }
}

NbdConnection::~NbdConnection() {
  if (handle_ != nullptr) ::nbd_close(handle_);
}

void NbdConnection::connect(const std::string& uri, std::chrono::milliseconds timeout,
                            const std::function<bool()>& stopped) {
  // A failed read fails the guest's request, so its buffer need not be cleared first.
  if (::nbd_set_pread_initialize(handle_, false) != 0 || ::nbd_set_uri_allow_local_file(handle_, true) != 0) {
    fail_nbd(uri, "cannot set up the client");
  }
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  if (::nbd_aio_connect_uri(handle_, uri.c_str()) != 0) fail_nbd(uri, "cannot connect");
  while (::nbd_aio_is_ready(handle_) == 0) {
    if (::nbd_aio_is_dead(handle_) != 0 || ::nbd_aio_is_closed(handle_) != 0) fail_nbd(uri, "cannot connect");
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 || stopped()) {
      fail("KEMARI_NBD_CONNECT", "NBD disk " + uri + ": no answer within " + std::to_string(timeout.count()) +
                                     " ms; check that the server runs and that this host reaches it");
    }
    if (::nbd_poll(handle_, static_cast<int>(std::min(left, kPollStep).count())) < 0) fail_nbd(uri, "cannot connect");
  }
}

NbdConnection::Answer NbdConnection::probe(std::chrono::milliseconds timeout) {
  std::vector<uint8_t> block(geometry_.logical_block_bytes);
  const int64_t cookie = ::nbd_aio_pread(handle_, block.data(), block.size(), 0, nbd_completion_callback{}, 0);
  if (cookie < 0) return Answer::kEnded;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const int done = ::nbd_aio_command_completed(handle_, static_cast<uint64_t>(cookie));
    if (done != 0) return done > 0 ? Answer::kInTime : Answer::kEnded;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const int polled = left.count() <= 0 ? 0 : ::nbd_poll(handle_, static_cast<int>(left.count()));
    if (left.count() <= 0 || polled < 0) {
      // The server may still write into `block`.
      ::nbd_close(std::exchange(handle_, nullptr));
      return polled < 0 ? Answer::kEnded : Answer::kNotInTime;
    }
  }
}

void NbdConnection::measure(const std::string& uri) {
  const int64_t size = ::nbd_get_size(handle_);
  if (size < 0) fail_nbd(uri, "the server tells no size");
  if (size == 0 || size % kSectorBytes != 0) {
    fail("KEMARI_DISK_SIZE", "NBD disk " + uri + " has " + std::to_string(size) +
                                 " bytes; a disk has at least one sector and whole sectors of 512 bytes");
  }
  const int64_t minimum = ::nbd_get_block_size(handle_, LIBNBD_SIZE_MINIMUM);
  const int64_t preferred = ::nbd_get_block_size(handle_, LIBNBD_SIZE_PREFERRED);
  const int64_t maximum = ::nbd_get_block_size(handle_, LIBNBD_SIZE_MAXIMUM);
  if (minimum > 4096) {
    fail("KEMARI_DISK_SIZE", "NBD disk " + uri + " needs requests of at least " + std::to_string(minimum) +
                                 " bytes; guests cannot use blocks above 4096");
  }
  geometry_.size_bytes = static_cast<uint64_t>(size);
  geometry_.logical_block_bytes = static_cast<uint32_t>(std::max<int64_t>(minimum, kSectorBytes));
  geometry_.physical_block_bytes = static_cast<uint32_t>(
      std::bit_floor(static_cast<uint64_t>(std::clamp<int64_t>(preferred, geometry_.logical_block_bytes, 65536))));
  geometry_.discard_granularity_bytes = geometry_.physical_block_bytes;
  geometry_.read_only = ::nbd_is_read_only(handle_) != 0;
  geometry_.can_flush = ::nbd_can_flush(handle_) > 0;
  geometry_.can_discard = !geometry_.read_only && ::nbd_can_trim(handle_) > 0;
  geometry_.can_write_zeroes = !geometry_.read_only && ::nbd_can_zero(handle_) > 0;
  can_fua_ = ::nbd_can_fua(handle_) > 0;
  can_multi_conn_ = ::nbd_can_multi_conn(handle_) > 0;
  const uint64_t largest = maximum > 0 ? static_cast<uint64_t>(maximum) : kDefaultMaxRequestBytes;
  max_request_bytes_ =
      std::min(largest, kDefaultMaxRequestBytes) / geometry_.logical_block_bytes * geometry_.logical_block_bytes;
}

}  // namespace kemari
