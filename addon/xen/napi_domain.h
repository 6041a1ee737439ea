#pragma once

#include <napi.h>

namespace kemari {

void define_xen_domain(Napi::Env env, Napi::Object exports);

}  // namespace kemari
