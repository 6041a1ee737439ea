// Xen's libraries, loaded when they are first needed: the same package installs where there is no Xen. Only those whose
// interface is stable (their sonames say so); hypercalls that need libxenctrl elsewhere are made here by themselves.
#pragma once

#include <cstddef>
#include <cstdint>

struct xencall_handle;
struct xenforeignmemory_handle;

namespace kemari::xen {

// As xencall.h and xenforeignmemory.h declare them, without the prefix.
struct Libraries {
  xencall_handle* (*call_open)(void* logger, unsigned flags);
  int (*call_close)(xencall_handle*);
  int (*call1)(xencall_handle*, unsigned operation, uint64_t argument);
  int (*call2)(xencall_handle*, unsigned operation, uint64_t first, uint64_t second);
  void* (*call_alloc_buffer)(xencall_handle*, size_t bytes);
  void (*call_free_buffer)(xencall_handle*, void*);

  xenforeignmemory_handle* (*memory_open)(void* logger, unsigned flags);
  int (*memory_close)(xenforeignmemory_handle*);
  void* (*memory_map)(xenforeignmemory_handle*, uint32_t domid, int protection, size_t pages, const uint64_t* frames,
                      int* errors);
  int (*memory_unmap)(xenforeignmemory_handle*, void*, size_t pages);
};

// Loaded once and never unloaded. Throws KEMARI_XEN_MISSING where a library is absent or lacks a function. Any thread.
const Libraries& libraries();

}  // namespace kemari::xen
