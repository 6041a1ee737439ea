// The Disk class of JavaScript (src/native/addon.ts).
#pragma once

#include <napi.h>

#include <memory>

#include "ring/ring_device.h"

namespace kemari {

void define_disk(Napi::Env env, Napi::Object exports);

// The device behind a Disk of JavaScript; nullptr when `value` is none.
std::shared_ptr<RingDevice> disk_value(const Napi::Value& value);

}  // namespace kemari
