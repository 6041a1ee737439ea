#include "ring/disk/disk_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>

#include "error.h"
#include "ring/disk/io_vector.h"
#include "ring/disk/virtio_blk.h"

namespace kemari {
namespace {

constexpr uint32_t kLargestBlockBytes = 4096;  // a larger logical block no guest could use

bool power_of_two(uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

// A number from the queue directory of a block device, or of the whole disk when it is a partition; 0 when unknown.
uint64_t queue_limit(dev_t device, const char* name) {
  const std::string base = "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
  for (const char* place : {"/queue/", "/../queue/"}) {
    std::ifstream file(base + place + name);
    uint64_t value = 0;
    if (file >> value) return value;
  }
  return 0;
}

std::string advice(int error) {
  switch (error) {
    case ENOENT:
      return "; create it, or correct the path in the disk list";
    case EACCES:
    case EPERM:
      return "; kemari needs to read it, and to write it unless the disk is read-only";
    case EROFS:
      return "; make the disk read-only (mode r)";
    default:
      return "";
  }
}

}  // namespace

DiskFile::DiskFile(const DiskFileOptions& options) : path_(options.path), direct_(options.direct) {
  open(options);
  struct stat file = {};
  if (::fstat(fd_.get(), &file) != 0) fail_errno("KEMARI_DISK_OPEN", "fstat", "cannot look at disk " + path_);
  is_device_ = S_ISBLK(file.st_mode);
  if (!is_device_ && !S_ISREG(file.st_mode)) {
    fail("KEMARI_DISK_OPEN", "disk " + path_ + " is neither a regular file nor a block device");
  }
  lock_.emplace_back(fd_.get(), path_, options.read_only, options.steal);
  geometry_.read_only = options.read_only;
  if (is_device_) {
    measure_device(options.discard && !options.read_only);
  } else {
    geometry_.size_bytes = static_cast<uint64_t>(file.st_size);
    measure_file(options.discard && !options.read_only);
  }
  if (geometry_.size_bytes == 0 || geometry_.size_bytes % kSectorBytes != 0) {
    fail("KEMARI_DISK_SIZE", "disk " + path_ + " has " + std::to_string(geometry_.size_bytes) +
                                 " bytes; a disk has at least one sector and whole sectors of 512 bytes" +
                                 (is_device_ ? "" : " (truncate -s changes a file's size)"));
  }
  if (direct_) find_direct_alignment();
  geometry_.physical_block_bytes = std::max(geometry_.physical_block_bytes, geometry_.logical_block_bytes);
}

void DiskFile::open(const DiskFileOptions& options) {
  struct stat file = {};
  if (::stat(path_.c_str(), &file) == 0 && S_ISDIR(file.st_mode)) {
    fail("KEMARI_DISK_OPEN", "disk " + path_ + " is a directory; expected a raw image file or a block device");
  }
  // O_NONBLOCK: a FIFO or a drive without a medium must not keep us waiting; regular I/O does not heed it.
  const int flags = (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
  fd_.reset(::open(path_.c_str(), flags | (direct_ ? O_DIRECT : 0)));
  if (fd_.valid()) {
    // io_uring would answer EAGAIN instead of waiting.
    const int now = ::fcntl(fd_.get(), F_GETFL);
    if (now < 0 || ::fcntl(fd_.get(), F_SETFL, now & ~O_NONBLOCK) != 0) {
      fail_errno("KEMARI_DISK_OPEN", "fcntl", "cannot set up disk " + path_);
    }
    return;
  }
  const int error = errno;
  if (direct_ && error == EINVAL) {
    fail_errno(
        "KEMARI_DISK_OPEN", "open",
        "cannot open disk " + path_ +
            " with O_DIRECT: its file system refuses it; put the image elsewhere, or, unless two hosts reach it, "
            "say cache=writeback in the disk string",
        error);
  }
  fail_errno("KEMARI_DISK_OPEN", "open", "cannot open disk " + path_ + advice(error), error);
}

void DiskFile::measure_file(bool discard) {
  // Punching beyond the end changes nothing and tells whether the file system can.
  const auto end =
      static_cast<off_t>((geometry_.size_bytes + kLargestBlockBytes - 1) / kLargestBlockBytes * kLargestBlockBytes);
  geometry_.can_discard =
      discard && ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, end, kLargestBlockBytes) == 0;
  geometry_.can_write_zeroes = !geometry_.read_only;
}

void DiskFile::measure_device(bool discard) {
  const int fd = fd_.get();
  uint64_t size = 0;
  int logical = 0;
  unsigned physical = 0;
  unsigned optimal = 0;
  if (::ioctl(fd, BLKGETSIZE64, &size) != 0)
    fail_errno("KEMARI_DISK_OPEN", "ioctl", "cannot get the size of disk " + path_);
  if (::ioctl(fd, BLKSSZGET, &logical) != 0) {
    fail_errno("KEMARI_DISK_OPEN", "ioctl", "cannot get the sector size of disk " + path_);
  }
  int device_read_only = 0;
  if (!geometry_.read_only && ::ioctl(fd, BLKROGET, &device_read_only) == 0 && device_read_only != 0) {
    fail("KEMARI_DISK_OPEN", "disk " + path_ + " is write-protected" + advice(EROFS));
  }
  geometry_.size_bytes = size;
  geometry_.logical_block_bytes = static_cast<uint32_t>(logical);
  if (::ioctl(fd, BLKPBSZGET, &physical) == 0 && power_of_two(physical)) geometry_.physical_block_bytes = physical;
  if (::ioctl(fd, BLKIOOPT, &optimal) == 0) geometry_.optimal_io_bytes = optimal;
  struct stat file = {};
  if (::fstat(fd, &file) != 0) fail_errno("KEMARI_DISK_OPEN", "fstat", "cannot look at disk " + path_);
  geometry_.can_discard = discard && queue_limit(file.st_rdev, "discard_max_bytes") > 0;
  const uint64_t granularity = queue_limit(file.st_rdev, "discard_granularity");
  geometry_.discard_granularity_bytes =
      static_cast<uint32_t>(std::clamp<uint64_t>(granularity, geometry_.logical_block_bytes, UINT32_MAX / 2));
  geometry_.can_write_zeroes = !geometry_.read_only;
}

void DiskFile::find_direct_alignment() {
  struct statx details = {};
  const bool known =
      ::statx(fd_.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &details) == 0 && (details.stx_mask & STATX_DIOALIGN) != 0;
  if (known && details.stx_dio_offset_align == 0) {
    fail("KEMARI_DISK_OPEN", "disk " + path_ +
                                 " cannot be used with O_DIRECT (its file system says so); put the image "
                                 "elsewhere, or, unless two hosts reach it, say cache=writeback in the disk string");
  }
  if (known) {
    memory_alignment_ = details.stx_dio_mem_align;
    length_alignment_ = details.stx_dio_offset_align;
  } else if (is_device_) {
    memory_alignment_ = length_alignment_ = geometry_.logical_block_bytes;
  } else {
    probe_direct_alignment();
  }
  if (!power_of_two(memory_alignment_) || !power_of_two(length_alignment_) || length_alignment_ > kLargestBlockBytes ||
      memory_alignment_ > kBounceAlignment || geometry_.size_bytes % std::max(length_alignment_, kSectorBytes) != 0) {
    fail("KEMARI_DISK_OPEN",
         "disk " + path_ + " needs O_DIRECT requests aligned to " + std::to_string(length_alignment_) +
             " bytes, which its size (" + std::to_string(geometry_.size_bytes) +
             " bytes) or a guest cannot keep; say cache=writeback in the disk string unless two hosts reach it");
  }
  geometry_.logical_block_bytes = std::max({geometry_.logical_block_bytes, length_alignment_, kSectorBytes});
}

// For file systems that do not tell: the smallest read that works is the alignment.
void DiskFile::probe_direct_alignment() {
  memory_alignment_ = kBounceAlignment;
  const std::unique_ptr<void, decltype(&std::free)> buffer(std::aligned_alloc(kBounceAlignment, kLargestBlockBytes),
                                                           std::free);
  for (length_alignment_ = kSectorBytes; length_alignment_ < kLargestBlockBytes; length_alignment_ *= 2) {
    if (buffer != nullptr && ::pread(fd_.get(), buffer.get(), length_alignment_, length_alignment_) >= 0) return;
  }
}

bool DiskFile::fits(std::span<const iovec> pieces) const noexcept {
  return !direct_ || io_aligned(pieces, memory_alignment_, length_alignment_);
}

}  // namespace kemari
