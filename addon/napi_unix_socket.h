// Unix sockets with a name, as blocking-free descriptors: Node hands out neither a listening nor an accepted one.
#pragma once

#include <napi.h>

namespace kemari {

// listenUnix, acceptUnix (see src/native/addon.ts).
void define_unix_socket(Napi::Env env, Napi::Object exports);

}  // namespace kemari
