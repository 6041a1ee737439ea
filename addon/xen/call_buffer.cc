#include "xen/call_buffer.h"

#include <cstring>
#include <string>

#include "error.h"

namespace kemari::xen {

CallHandle::CallHandle() : handle_(libraries().call_open(nullptr, 0)) {
  if (handle_ == nullptr) fail_errno("KEMARI_XEN_MISSING", "xencall_open", "this host's Xen cannot be reached");
}

CallHandle::~CallHandle() {
  libraries().call_close(handle_);
}

CallBuffer::CallBuffer(const CallHandle& calls, size_t bytes)
    : calls_(calls),
      size_bytes_(bytes),
      data_(static_cast<uint8_t*>(libraries().call_alloc_buffer(calls.get(), bytes))) {
  if (data_ == nullptr) {
    fail_errno("KEMARI_XEN_MEMORY", "xencall_alloc_buffer",
               "no memory for hypercalls: " + std::to_string(bytes) + " bytes");
  }
  std::memset(data_, 0, bytes);
}

CallBuffer::~CallBuffer() {
  libraries().call_free_buffer(calls_.get(), data_);
}

}  // namespace kemari::xen
