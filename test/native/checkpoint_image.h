// A sink for checkpoints that keeps the image of guest memory they make, to be compared with the memory itself.
#pragma once

#include <napi.h>

void define_checkpoint_image(Napi::Env env, Napi::Object exports);
