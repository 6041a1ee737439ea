// The Disk class of JavaScript (src/native/addon.ts).
#pragma once

#include <napi.h>

namespace kemari {

void define_disk(Napi::Env env, Napi::Object exports);

}  // namespace kemari
