// The OutputGate class of JavaScript.
#pragma once

#include <napi.h>

#include <memory>

#include "ring/output_gate.h"

namespace kemari {

void define_gate(Napi::Env env, Napi::Object exports);

// The gate behind a JavaScript OutputGate. Throws KEMARI_ARGUMENT for anything else.
std::shared_ptr<OutputGate> gate_option(const Napi::Object& options, const char* key);

}  // namespace kemari
