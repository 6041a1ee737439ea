#include "xen/libraries.h"

#include <dlfcn.h>

#include <string>

#include "error.h"

namespace kemari::xen {

namespace {

constexpr char kCallLibrary[] = "libxencall.so.1";
constexpr char kMemoryLibrary[] = "libxenforeignmemory.so.1";

[[noreturn]] void missing(const char* what) {
  const char* const why = dlerror();
  fail("KEMARI_XEN_MISSING", std::string(what) + " cannot be used: " + (why == nullptr ? "unknown" : why) +
                                 "; a dom0 of Debian has it in the packages that xen-utils brings");
}

void* load(const char* name) {
  void* const library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) missing(name);
  return library;
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
  // SAFETY: POSIX has dlsym's result converted to the function's type, which is the header's.
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) missing(name);
}

Libraries load_all() {
  Libraries all{};
  void* const call = load(kCallLibrary);
  find(call, "xencall_open", all.call_open);
  find(call, "xencall_close", all.call_close);
  find(call, "xencall1", all.call1);
  find(call, "xencall2", all.call2);
  find(call, "xencall_alloc_buffer", all.call_alloc_buffer);
  find(call, "xencall_free_buffer", all.call_free_buffer);
  void* const memory = load(kMemoryLibrary);
  find(memory, "xenforeignmemory_open", all.memory_open);
  find(memory, "xenforeignmemory_close", all.memory_close);
  find(memory, "xenforeignmemory_map", all.memory_map);
  find(memory, "xenforeignmemory_unmap", all.memory_unmap);
  return all;
}

}  // namespace

const Libraries& libraries() {
  static const Libraries all = load_all();  // what throws is tried again the next time
  return all;
}

}  // namespace kemari::xen
