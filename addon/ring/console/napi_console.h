// The Console class of JavaScript.
#pragma once

#include <napi.h>

namespace kemari {

void define_console(Napi::Env env, Napi::Object exports);

}  // namespace kemari
