#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "error.h"
#include "memory/guest_memory.h"

namespace kemari {

namespace {

// Living mappings by device and inode. `cont` names the same file anew each time; mapping it again would cost more than
// all the rest of the pause.
struct Registry {
  std::mutex mutex;
  std::map<std::pair<uint64_t, uint64_t>, std::weak_ptr<RamFile>> files;
};

Registry& registry() {
  static Registry instance;
  return instance;
}

void seal_against_shrinking(int fd) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals >= 0 && (seals & F_SEAL_SHRINK) != 0) return;
  if (seals >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0) return;
  fail_errno("KEMARI_RAM_MAP", "fcntl",
             "guest memory is not sealed against shrinking and cannot be sealed; use a memfd that allows seals");
}

}  // namespace

std::shared_ptr<RamFile> RamFile::map(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0) fail_errno("KEMARI_RAM_MAP", "fstat", "cannot examine the guest memory file");
  if (!S_ISREG(status.st_mode) || status.st_size <= 0 || static_cast<uint64_t>(status.st_size) > kMaxBytes) {
    fail("KEMARI_RAM_MAP", "guest memory is not a regular file of 1 byte to 4 TiB");
  }
  const std::pair<uint64_t, uint64_t> key{status.st_dev, status.st_ino};
  const auto size = static_cast<uint64_t>(status.st_size);
  const std::lock_guard lock(registry().mutex);
  std::weak_ptr<RamFile>& known = registry().files[key];
  if (std::shared_ptr<RamFile> file = known.lock(); file && file->size_bytes() == size) return file;
  seal_against_shrinking(fd);
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (data == MAP_FAILED) fail_errno("KEMARI_RAM_MAP", "mmap", "cannot map guest memory");
  std::shared_ptr<RamFile> file;
  try {
    file.reset(new RamFile(static_cast<uint8_t*>(data), size, key.first, key.second));
  } catch (...) {
    munmap(data, size);
    throw;
  }
  known = file;
  return file;
}

RamFile::RamFile(uint8_t* data, uint64_t size_bytes, uint64_t device, uint64_t inode)
    : data_(data), size_bytes_(size_bytes), device_(device), inode_(inode), dirty_(size_bytes) {}

RamFile::~RamFile() {
  munmap(data_, size_bytes_);
  const std::lock_guard lock(registry().mutex);
  const auto entry = registry().files.find({device_, inode_});
  // A new mapping of a grown file may have taken the place.
  if (entry != registry().files.end() && entry->second.expired()) registry().files.erase(entry);
}

}  // namespace kemari
