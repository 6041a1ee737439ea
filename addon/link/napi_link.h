// The LinkSender and LinkReceiver classes of JavaScript (src/native/link.ts).
#pragma once

#include <napi.h>

#include <memory>

#include "link/checkpoint.h"

namespace kemari {

void define_link(Napi::Env env, Napi::Object exports);

// The sink behind a JavaScript LinkSender. Throws KEMARI_ARGUMENT for anything else.
std::shared_ptr<CheckpointSink> link_option(const Napi::Object& options, const char* key);

}  // namespace kemari
