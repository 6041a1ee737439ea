// Hypercalls of this process, and memory that the hypervisor may write: it must not move or be swapped, so it is
// allocated once and kept. Allocating and locking it costs more than a hypercall does.
#pragma once

#include <cstddef>
#include <cstdint>

#include "xen/libraries.h"

namespace kemari::xen {

// A connection to the hypervisor. Not thread-safe.
class CallHandle {
 public:
  // Throws KEMARI_XEN_MISSING where this is no dom0.
  CallHandle();
  ~CallHandle();
  CallHandle(const CallHandle&) = delete;
  CallHandle& operator=(const CallHandle&) = delete;

  xencall_handle* get() const noexcept { return handle_; }

 private:
  xencall_handle* handle_;
};

// Zeroed memory for hypercalls through this handle.
class CallBuffer {
 public:
  // Throws KEMARI_XEN_MEMORY.
  CallBuffer(const CallHandle& calls, size_t bytes);
  ~CallBuffer();
  CallBuffer(const CallBuffer&) = delete;
  CallBuffer& operator=(const CallBuffer&) = delete;

  uint8_t* data() const noexcept { return data_; }
  size_t size_bytes() const noexcept { return size_bytes_; }
  // What a hypercall is told.
  uint64_t address() const noexcept { return reinterpret_cast<uintptr_t>(data_); }

 private:
  const CallHandle& calls_;
  size_t size_bytes_;
  uint8_t* data_;
};

}  // namespace kemari::xen
