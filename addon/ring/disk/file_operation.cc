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

// One pwritev2 or preadv2; bytes or -errno.
ssize_t transfer_once(int fd, bool write, bool write_through, std::span<const iovec> pieces, uint64_t offset) noexcept {
  const int count = static_cast<int>(std::min<size_t>(pieces.size(), IOV_MAX));
  const auto at = static_cast<off_t>(offset);
  for (;;) {
    const ssize_t bytes = write ? ::pwritev2(fd, pieces.data(), count, at, write_through ? RWF_DSYNC : 0)
                                : ::preadv(fd, pieces.data(), count, at);
    if (bytes >= 0) return bytes;
    if (errno != EINTR) return -errno;
  }
}

int transfer(const DiskFile& file, BlockRequest& request) noexcept {
  const bool write = request.operation == BlockOperation::kWrite;
  while (request.done < request.length) {
    iovec bounced{};
    std::span<const iovec> pieces = request.data;
    if (request.bounce != nullptr) {
      bounced = {request.bounce->data, std::min<uint64_t>(request.length - request.done, kBounceBufferBytes)};
      pieces = {&bounced, 1};
      if (write) io_gather(request.data, request.bounce->data, bounced.iov_len);
    }
    const ssize_t bytes = transfer_once(file.fd(), write, request.write_through, pieces, request.offset + request.done);
    if (bytes < 0) return static_cast<int>(-bytes);
    if (bytes == 0) return ENODATA;
    const auto count = static_cast<size_t>(bytes);
    if (request.bounce != nullptr && !write) io_scatter(request.data, request.bounce->data, count);
    io_consume(request.data, count);
    request.done += count;
  }
  return 0;
}

int allocate(const DiskFile& file, int mode, const BlockRequest& request) noexcept {
  const auto offset = static_cast<off_t>(request.offset);
  const auto length = static_cast<off_t>(request.length);
  while (::fallocate(file.fd(), mode | FALLOC_FL_KEEP_SIZE, offset, length) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

bool not_possible(int error) {
  return error == EOPNOTSUPP || error == EINVAL || error == ENODEV || error == ENOSYS;
}

int write_zeros(const DiskFile& file, const BlockRequest& request) noexcept {
  uint64_t done = 0;
  while (done < request.length) {
    std::array<iovec, kZeroPieces> pieces;
    size_t count = 0;
    for (uint64_t left = request.length - done; left > 0 && count < kZeroPieces; ++count) {
      // SAFETY: only read from; iovec has no const form.
      pieces[count] = {const_cast<uint8_t*>(zeros.data()), std::min<uint64_t>(left, kZeroBytes)};
      left -= pieces[count].iov_len;
    }
    const ssize_t bytes = transfer_once(file.fd(), true, false, {pieces.data(), count}, request.offset + done);
    if (bytes < 0) return static_cast<int>(-bytes);
    if (bytes == 0) return ENODATA;
    done += static_cast<uint64_t>(bytes);
  }
  return 0;
}

int write_zeroes(const DiskFile& file, const BlockRequest& request) noexcept {
  if (request.unmap && file.geometry().can_discard) {
    const int error = allocate(file, FALLOC_FL_PUNCH_HOLE, request);
    if (!not_possible(error)) return error;
  }
  const int error = allocate(file, FALLOC_FL_ZERO_RANGE, request);
  return not_possible(error) ? write_zeros(file, request) : error;
}

// A discard is a hint: what the storage cannot drop it keeps.
int discard(const DiskFile& file, const BlockRequest& request) noexcept {
  int error = 0;
  if (file.is_device()) {
    const uint64_t block = file.geometry().logical_block_bytes;
    const uint64_t first = (request.offset + block - 1) / block * block;
    const uint64_t last = (request.offset + request.length) / block * block;
    std::array<uint64_t, 2> range{first, last > first ? last - first : 0};
    if (range[1] != 0 && ::ioctl(file.fd(), BLKDISCARD, range.data()) != 0) error = errno;
  } else {
    error = allocate(file, FALLOC_FL_PUNCH_HOLE, request);
  }
  return error == EOPNOTSUPP ? 0 : error;
}

}  // namespace

int run_file_operation(const DiskFile& file, BlockRequest& request) noexcept {
  int error = 0;
  switch (request.operation) {
    case BlockOperation::kRead:
    case BlockOperation::kWrite:
      return transfer(file, request);
    case BlockOperation::kFlush:
      return ::fdatasync(file.fd()) == 0 ? 0 : errno;
    case BlockOperation::kDiscard:
      error = discard(file, request);
      break;
    case BlockOperation::kWriteZeroes:
      error = write_zeroes(file, request);
      break;
  }
  if (error == 0 && request.write_through && ::fdatasync(file.fd()) != 0) error = errno;
  return error;
}

}  // namespace kemari
