// How a native CheckpointSink passes through JavaScript: a hidden property of the object that stands for it.
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "error.h"
#include "link/checkpoint.h"
#include "napi_options.h"

namespace kemari {

inline constexpr char kSinkProperty[] = "nativeCheckpointSink";
inline constexpr napi_type_tag kSinkTag{0x6b656d6172690002, 0x636865636b73696e};

// Called once by whoever makes the JavaScript object; it then keeps the sink alive.
inline void expose_sink(Napi::Object object, std::shared_ptr<CheckpointSink> sink) {
  using Held = std::shared_ptr<CheckpointSink>;
  const auto external =
      Napi::External<Held>::New(object.Env(), new Held(std::move(sink)), [](Napi::Env, Held* held) { delete held; });
  external.TypeTag(&kSinkTag);
  object.DefineProperty(Napi::PropertyDescriptor::Value(kSinkProperty, external, napi_default));
}

// The sink behind the object. Throws KEMARI_ARGUMENT for an object without one.
inline std::shared_ptr<CheckpointSink> sink_option(const Napi::Object& options, const char* key) {
  const Napi::Value value = object_option(options, key).Get(kSinkProperty);
  if (!value.IsExternal() || !value.As<Napi::External<std::shared_ptr<CheckpointSink>>>().CheckTypeTag(&kSinkTag)) {
    fail("KEMARI_ARGUMENT", std::string("option ") + key + " is not what takes checkpoints");
  }
  return *value.As<Napi::External<std::shared_ptr<CheckpointSink>>>().Data();
}

}  // namespace kemari
