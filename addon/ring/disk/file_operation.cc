#include "ring/disk/file_operation.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "ring/disk/io_vector.h"

namespace kemari {
namespace {

constexpr size_t kZeroBytes = 256 * 1024;
constexpr size_t kZeroPieces = 16;  // of the same zeros in one write
alignas(kBounceAlignment) const std::array<uint8_t, kZeroBytes> zeros{};

// What a system call that was not made returns.
constexpr int kWithheld = INT_MAX;

// One request's way to the file. Whether it may leave is asked right before every system call.
struct Operation {
  const DiskFile& file;
  BlockRequest& request;
  const BlockClient& client;

  bool may_go() const noexcept { return !request.is_outbound() || client.may_leave(); }
};

// One pwritev2 or preadv2; bytes, -errno or -kWithheld.
ssize_t transfer_once(const Operation& operation, std::span<const iovec> pieces, uint64_t offset) noexcept {
  const int fd = operation.file.fd();
  const int count = static_cast<int>(std::min<size_t>(pieces.size(), IOV_MAX));
  const auto at = static_cast<off_t>(offset);
  const int flags = operation.request.write_through ? RWF_DSYNC : 0;
  for (;;) {
    if (!operation.may_go()) return -kWithheld;
    const ssize_t bytes = operation.request.is_outbound() ? ::pwritev2(fd, pieces.data(), count, at, flags)
                                                          : ::preadv(fd, pieces.data(), count, at);
    if (bytes >= 0) return bytes;
    if (errno != EINTR) return -errno;
  }
}

int transfer(const Operation& operation) noexcept {
  BlockRequest& request = operation.request;
  const bool write = request.operation == BlockOperation::kWrite;
  while (request.done < request.length) {
    iovec bounced{};
    std::span<const iovec> pieces = request.data;
    if (request.bounce != nullptr) {
      bounced = {request.bounce->data, std::min<uint64_t>(request.length - request.done, kBounceBufferBytes)};
      pieces = {&bounced, 1};
      if (write) io_gather(request.data, request.bounce->data, bounced.iov_len);
    }
    const ssize_t bytes = transfer_once(operation, pieces, request.offset + request.done);
    if (bytes < 0) return static_cast<int>(-bytes);
    if (bytes == 0) return ENODATA;
    const auto count = static_cast<size_t>(bytes);
    if (request.bounce != nullptr && !write) io_scatter(request.data, request.bounce->data, count);
    io_consume(request.data, count);
    request.done += count;
  }
  return 0;
}

int synchronize(const Operation& operation) noexcept {
  if (!operation.may_go()) return kWithheld;
  return ::fdatasync(operation.file.fd()) == 0 ? 0 : errno;
}

int allocate(const Operation& operation, int mode) noexcept {
  const auto offset = static_cast<off_t>(operation.request.offset);
  const auto length = static_cast<off_t>(operation.request.length);
  for (;;) {
    if (!operation.may_go()) return kWithheld;
    if (::fallocate(operation.file.fd(), mode | FALLOC_FL_KEEP_SIZE, offset, length) == 0) return 0;
    if (errno != EINTR) return errno;
  }
}

bool not_possible(int error) {
  return error == EOPNOTSUPP || error == EINVAL || error == ENODEV || error == ENOSYS;
}

int write_zeros(const Operation& operation) noexcept {
  const BlockRequest& request = operation.request;
  uint64_t done = 0;
  while (done < request.length) {
    std::array<iovec, kZeroPieces> pieces;
    size_t count = 0;
    for (uint64_t left = request.length - done; left > 0 && count < kZeroPieces; ++count) {
      // SAFETY: only read from; iovec has no const form.
      pieces[count] = {const_cast<uint8_t*>(zeros.data()), std::min<uint64_t>(left, kZeroBytes)};
      left -= pieces[count].iov_len;
    }
    const ssize_t bytes = transfer_once(operation, {pieces.data(), count}, request.offset + done);
    if (bytes < 0) return static_cast<int>(-bytes);
    if (bytes == 0) return ENODATA;
    done += static_cast<uint64_t>(bytes);
  }
  return 0;
}

int write_zeroes(const Operation& operation) noexcept {
  if (operation.request.unmap && operation.file.geometry().can_discard) {
    const int error = allocate(operation, FALLOC_FL_PUNCH_HOLE);
    if (!not_possible(error)) return error;
  }
  const int error = allocate(operation, FALLOC_FL_ZERO_RANGE);
  return not_possible(error) ? write_zeros(operation) : error;
}

int discard_of_device(const Operation& operation) noexcept {
  const BlockRequest& request = operation.request;
  const uint64_t block = operation.file.geometry().logical_block_bytes;
  const uint64_t first = (request.offset + block - 1) / block * block;
  const uint64_t last = (request.offset + request.length) / block * block;
  if (last <= first) return 0;
  std::array<uint64_t, 2> range{first, last - first};
  if (!operation.may_go()) return kWithheld;
  return ::ioctl(operation.file.fd(), BLKDISCARD, range.data()) == 0 ? 0 : errno;
}

// A discard is a hint: what the storage cannot drop it keeps.
int discard(const Operation& operation) noexcept {
  const int error =
      operation.file.is_device() ? discard_of_device(operation) : allocate(operation, FALLOC_FL_PUNCH_HOLE);
  return error == EOPNOTSUPP ? 0 : error;
}

int carry_out(const Operation& operation) noexcept {
  int error = 0;
  switch (operation.request.operation) {
    case BlockOperation::kRead:
    case BlockOperation::kWrite:
      return transfer(operation);
    case BlockOperation::kFlush:
      return synchronize(operation);
    case BlockOperation::kDiscard:
      error = discard(operation);
      break;
    case BlockOperation::kWriteZeroes:
      error = write_zeroes(operation);
      break;
  }
  return error == 0 && operation.request.write_through ? synchronize(operation) : error;
}

}  // namespace

int run_file_operation(const DiskFile& file, BlockRequest& request, const BlockClient& client) noexcept {
  const int error = carry_out({file, request, client});
  request.is_withheld = error == kWithheld;
  return request.is_withheld ? 0 : error;
}

}  // namespace kemari
