// Keeps two users from one disk. The locks are those of QEMU (block/file-posix.c): open-file-description locks on
// single bytes far into the file, so that a disk in use by any QEMU or any kemari domain is refused, both ways.
#pragma once

#include <string>
#include <vector>

#include "unique_fd.h"

namespace kemari {

// Held while the object lives. A writer wants the disk alone; readers share it with readers.
class ImageLock {
 public:
  // Locks what `fd` has open, found as `path`. A block device is locked by all the names this host has for it, and
  // claimed (O_EXCL) when it is to be written, so that a mounted one is refused too. Throws KEMARI_DISK_IN_USE, or
  // KEMARI_DISK_LOCK when the file system has no locks.
  // `steal`: what others hold does not matter; whoever says so knows that they do not write any more.
  ImageLock(int fd, const std::string& path, bool read_only, bool steal);
  ImageLock(ImageLock&&) noexcept = default;
  ImageLock& operator=(ImageLock&&) noexcept = default;

 private:
  // Descriptions of our own, which no io_uring keeps alive: closing them is letting go.
  std::vector<UniqueFd> locked_;
};

}  // namespace kemari
