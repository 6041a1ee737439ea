#include "ring/disk/image_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <cstring>
#include <fstream>

#include "error.h"

namespace kemari {
namespace {

// QEMU's permissions that matter here, as bits of its BLK_PERM_ mask: byte kHeldBase + bit is read-locked by who has
// the permission, byte kDeniedBase + bit by who lets nobody else have it.
constexpr off_t kHeldBase = 100;
constexpr off_t kDeniedBase = 200;
constexpr int kConsistentRead = 0;
constexpr int kWrite = 1;
constexpr int kResize = 3;

struct Permissions {
  std::vector<int> held;
  std::vector<int> denied;
};

Permissions permissions(bool read_only) {
  if (read_only) return {{kConsistentRead}, {kWrite}};
  return {{kConsistentRead, kWrite}, {kWrite, kResize}};
}

[[noreturn]] void fail_in_use(const std::string& path, bool read_only, const char* found) {
  fail("KEMARI_DISK_IN_USE", "disk " + path + " is in use: " + found + "; " +
                                 (read_only ? "a read-only disk can be shared with readers only"
                                            : "a writable disk must have one user only") +
                                 ". Stop the other user (lsof shows it), or make this disk read-only on both sides");
}

struct flock byte_lock(short type, off_t byte) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

void take_byte(int fd, off_t byte) {
  struct flock lock = byte_lock(F_RDLCK, byte);
  (void)::fcntl(fd, F_OFD_SETLK, &lock);
}

void lock_byte(int fd, off_t byte, const std::string& path, bool read_only) {
  struct flock lock = byte_lock(F_RDLCK, byte);
  if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return;
  if (errno == EAGAIN || errno == EACCES) fail_in_use(path, read_only, "its lock bytes are taken");
  fail_errno("KEMARI_DISK_LOCK", "fcntl", "cannot lock disk " + path);
}

// Fails when anybody else holds a lock on the byte.
void test_byte(int fd, off_t byte, const std::string& path, bool read_only, const char* found) {
  struct flock lock = byte_lock(F_WRLCK, byte);
  if (::fcntl(fd, F_OFD_GETLK, &lock) != 0)
    fail_errno("KEMARI_DISK_LOCK", "fcntl", "cannot test locks of disk " + path);
  if (lock.l_type != F_UNLCK) fail_in_use(path, read_only, found);
}

// As QEMU does it: first take all, then look. Of two that start at once at least one sees the other.
void lock_description(int fd, const std::string& path, bool read_only, bool steal) {
  const Permissions mine = permissions(read_only);
  if (steal) {
    // Read locks go beside the old ones, and stay when those are gone; no one else gets in. That is all there is to do.
    for (const int bit : mine.held) take_byte(fd, kHeldBase + bit);
    for (const int bit : mine.denied) take_byte(fd, kDeniedBase + bit);
    return;
  }
  for (const int bit : mine.held) lock_byte(fd, kHeldBase + bit, path, read_only);
  for (const int bit : mine.denied) lock_byte(fd, kDeniedBase + bit, path, read_only);
  for (const int bit : mine.held) {
    test_byte(fd, kDeniedBase + bit, path, read_only, "another kemari domain or QEMU wants it alone");
  }
  for (const int bit : mine.denied) {
    test_byte(fd, kHeldBase + bit, path, read_only, "another kemari domain or QEMU writes to it");
  }
}

// The name that the kernel itself gives a block device under /dev; empty where it has none.
std::string kernel_node(dev_t device) {
  std::ifstream uevent("/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device)) +
                       "/uevent");
  const std::string key = "DEVNAME=";
  for (std::string line; std::getline(uevent, line);) {
    if (line.starts_with(key)) return "/dev/" + line.substr(key.size());
  }
  return {};
}

UniqueFd reopen(int fd, const std::string& path, int flags, bool read_only) {
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  UniqueFd copy(::open(self.c_str(), flags | O_CLOEXEC | O_NONBLOCK));
  if (copy.valid()) return copy;
  if (errno == EBUSY) fail_in_use(path, read_only, "the host has it mounted or claimed by another user");
  fail_errno("KEMARI_DISK_LOCK", "open", "cannot open disk " + path + " a second time for its lock");
}

}  // namespace

ImageLock::ImageLock(int fd, const std::string& path, bool read_only, bool steal) {
  struct stat file = {};
  if (::fstat(fd, &file) != 0) fail_errno("KEMARI_DISK_LOCK", "fstat", "cannot look at disk " + path);
  const int access = read_only ? O_RDONLY : O_RDWR;
  const bool is_device = S_ISBLK(file.st_mode);
  const bool claim = is_device && !read_only && !steal;
  locked_.push_back(reopen(fd, path, claim ? access | O_EXCL : access, read_only));
  lock_description(locked_.back().get(), path, read_only, steal);
  if (!is_device) return;

  // Locks belong to an inode, and a device may have several: everyone locks the kernel's own node besides.
  const std::string canonical = kernel_node(file.st_rdev);
  struct stat node = {};
  if (canonical.empty() || ::stat(canonical.c_str(), &node) != 0 || !S_ISBLK(node.st_mode)) return;
  if (node.st_rdev != file.st_rdev || (node.st_ino == file.st_ino && node.st_dev == file.st_dev)) return;
  UniqueFd other(::open(canonical.c_str(), access | O_CLOEXEC | O_NONBLOCK));
  if (!other.valid())
    fail_errno("KEMARI_DISK_LOCK", "open", "cannot open " + canonical + " for the lock of disk " + path);
  lock_description(other.get(), path, read_only, steal);
  locked_.push_back(std::move(other));
}

}  // namespace kemari
