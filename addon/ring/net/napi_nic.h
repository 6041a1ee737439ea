// The Nic class of JavaScript.
#pragma once

#include <napi.h>

#include <memory>

#include "ring/ring_device.h"

namespace kemari {

void define_nic(Napi::Env env, Napi::Object exports);

// The device behind a Nic of JavaScript; nullptr when `value` is none.
std::shared_ptr<RingDevice> nic_value(const Napi::Value& value);

}  // namespace kemari
