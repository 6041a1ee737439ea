// Plays a capture: hands checkpoints that a test has made to a link.
#pragma once

#include <napi.h>

void define_checkpoints(Napi::Env env, Napi::Object exports);
