#include "link/ram_image.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cstring>

#include "error.h"

namespace kemari {

RamFileImage::RamFileImage(int ram_fd)
    : file_(RamFile::map(ram_fd)),
      fd_(fcntl(ram_fd, F_DUPFD_CLOEXEC, 0)),
      page_count_(file_->size_bytes() / kPageBytes) {
  if (!fd_.valid()) fail_errno("KEMARI_RAM_MAP", "fcntl", "cannot keep guest memory open");
}

bool RamFileImage::is_there(uint64_t first_page, uint64_t count) noexcept {
  return first_page < page_count_ && count <= page_count_ - first_page;
}

const uint8_t* RamFileImage::page(uint64_t page) noexcept {
  KEMARI_ASSERT(page < page_count_);
  return file_->data() + page * kPageBytes;
}

void RamFileImage::copy(uint64_t first_page, uint64_t count, const uint8_t* bytes) noexcept {
  KEMARI_ASSERT(is_there(first_page, count));
  std::memcpy(file_->data() + first_page * kPageBytes, bytes, count * kPageBytes);
}

bool RamFileImage::is_hole(uint64_t first_page, uint64_t count) const noexcept {
  const auto start = static_cast<off_t>(first_page * kPageBytes);
  const off_t data = lseek(fd_.get(), start, SEEK_DATA);  // nobody else uses the file's position
  return data < 0 ? errno == ENXIO : data >= start + static_cast<off_t>(count * kPageBytes);
}

void RamFileImage::zero(uint64_t first_page, uint64_t count) noexcept {
  KEMARI_ASSERT(is_there(first_page, count));
  const auto start = static_cast<off_t>(first_page * kPageBytes);
  const auto size = static_cast<off_t>(count * kPageBytes);
  // Reading a hole through the mapping would fill it: the file is asked instead.
  if (is_hole(first_page, count)) return;
  if (count >= kPunchPages && fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, size) == 0) {
    return;
  }
  std::memset(file_->data() + start, 0, static_cast<size_t>(size));
}

}  // namespace kemari
