// The Nic class of JavaScript.
#pragma once

#include <napi.h>

namespace kemari {

void define_nic(Napi::Env env, Napi::Object exports);

}  // namespace kemari
