// Evidence, as JavaScript asks for it.
#pragma once

#include <napi.h>

namespace kemari {

void define_evidence(Napi::Env env, Napi::Object exports);

}  // namespace kemari
