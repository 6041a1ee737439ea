// File descriptors that JavaScript hands on: a copy of a socket's, and one sent to another process of ours.
#pragma once

#include <napi.h>

namespace kemari {

void define_descriptor(Napi::Env env, Napi::Object exports);

}  // namespace kemari
