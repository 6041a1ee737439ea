// Named faults, as JavaScript arms and passes them.
#pragma once

#include <napi.h>

namespace kemari {

void define_fault(Napi::Env env, Napi::Object exports);

}  // namespace kemari
