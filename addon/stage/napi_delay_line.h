// Long cables, as JavaScript lays them.
#pragma once

#include <napi.h>

namespace kemari {

void define_delay_line(Napi::Env env, Napi::Object exports);

}  // namespace kemari
