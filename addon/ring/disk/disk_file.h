// A raw file or block device that serves as a disk: opened, locked, measured.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ring/disk/block_backend.h"
#include "ring/disk/image_lock.h"
#include "unique_fd.h"

namespace kemari {

struct DiskFileOptions {
  std::string path;
  bool read_only = false;
  bool direct = true;   // O_DIRECT
  bool discard = true;  // the guest may discard
  bool steal = false;   // whoever has it locked does not write any more
};

class DiskFile {
 public:
  // Throws KEMARI_DISK_OPEN (missing, not permitted, a directory, no O_DIRECT on its file system), KEMARI_DISK_SIZE
  // (nothing in it, or not whole sectors), KEMARI_DISK_IN_USE.
  explicit DiskFile(const DiskFileOptions& options);

  int fd() const noexcept { return fd_.get(); }
  const std::string& path() const noexcept { return path_; }
  bool is_device() const noexcept { return is_device_; }
  const BlockGeometry& geometry() const noexcept { return geometry_; }

  // Whether these pieces can be read or written as they are; otherwise they go through a bounce buffer.
  bool fits(std::span<const iovec> pieces) const noexcept;

 private:
  void open(const DiskFileOptions& options);
  void measure_file(bool discard);
  void measure_device(bool discard);
  void find_direct_alignment();
  void probe_direct_alignment();
  std::string path_;
  UniqueFd fd_;
  bool is_device_ = false;
  bool direct_ = false;
  uint32_t memory_alignment_ = 1;
  uint32_t length_alignment_ = 1;
  BlockGeometry geometry_;
  std::vector<ImageLock> lock_;  // one; empty while opening
};

}  // namespace kemari
