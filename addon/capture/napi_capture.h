// The Capture class of JavaScript (src/native/capture.ts).
#pragma once

#include <napi.h>

namespace kemari {

void define_capture(Napi::Env env, Napi::Object exports);

}  // namespace kemari
