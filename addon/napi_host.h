// Small things of the host that JavaScript has no name for: guest RAM, socket pairs, file locks, feature probes.
#pragma once

#include <napi.h>

namespace kemari {

// createRam, socketPair, tryLock, readTsc, probeHost (see src/native/addon.ts).
void define_host(Napi::Env env, Napi::Object exports);

}  // namespace kemari
