// Anonymous memory with one owner; pages of it appear as they are touched.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "error.h"

namespace kemari {

class UniqueMapping {
 public:
  // Zeroed. Throws `code` when the host has no memory for `what`.
  UniqueMapping(size_t size_bytes, const char* code, const char* what) : size_bytes_(size_bytes) {
    if (size_bytes == 0) return;
    void* data = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) fail_errno(code, "mmap", std::string("no memory for ") + what);
    data_ = static_cast<uint8_t*>(data);
  }
  ~UniqueMapping() {
    if (data_ != nullptr) munmap(data_, size_bytes_);
  }
  UniqueMapping(const UniqueMapping&) = delete;
  UniqueMapping& operator=(const UniqueMapping&) = delete;

  uint8_t* data() const noexcept { return data_; }
  size_t size_bytes() const noexcept { return size_bytes_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_bytes_;
};

}  // namespace kemari
