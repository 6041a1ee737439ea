// The Console class of JavaScript.
#pragma once

#include <napi.h>

#include <memory>

#include "ring/console/console_pump.h"

namespace kemari {

void define_console(Napi::Env env, Napi::Object exports);

// The pump behind a Console of JavaScript. Throws KEMARI_ARGUMENT for anything else.
std::shared_ptr<ConsolePump> console_value(const Napi::Value& value);

}  // namespace kemari
