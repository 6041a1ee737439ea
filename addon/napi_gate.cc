#include "napi_gate.h"

#include "napi_error.h"
#include "napi_options.h"

namespace kemari {

namespace {

class GateObject : public Napi::ObjectWrap<GateObject> {
 public:
  explicit GateObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<GateObject>(info), gate_(std::make_shared<OutputGate>()) {
    info.This().As<Napi::Object>().TypeTag(&kTag);
  }

  // Tells gates from other objects that JavaScript may pass.
  static constexpr napi_type_tag kTag{0x6b656d6172690001, 0x6f75747075746761};

  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "OutputGate",
        {InstanceMethod("close", &GateObject::close), InstanceMethod("open", &GateObject::open),
         InstanceMethod("release", &GateObject::release), InstanceMethod("counters", &GateObject::counters),
         InstanceAccessor("isOpen", &GateObject::is_open, nullptr),
         InstanceAccessor("lastSequence", &GateObject::last_sequence, nullptr)});
  }

  const std::shared_ptr<OutputGate>& gate() const noexcept { return gate_; }

 private:
  Napi::Value close(const Napi::CallbackInfo& info) {
    gate_->close();
    return info.Env().Undefined();
  }

  Napi::Value open(const Napi::CallbackInfo& info) {
    gate_->open();
    return info.Env().Undefined();
  }

  Napi::Value release(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      bool lossless = false;
      uint64_t through = 0;
      if (info[0].IsBigInt()) through = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
      if (!lossless || through > gate_->last_sequence()) {
        fail("KEMARI_ARGUMENT", "release needs a bigint, a sequence that was given out");
      }
      gate_->release(through);
      return info.Env().Undefined();
    });
  }

  Napi::Value counters(const Napi::CallbackInfo& info) {
    const OutputGate::Counters counters = gate_->counters();
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("passed", static_cast<double>(counters.passed));
    object.Set("held", static_cast<double>(counters.held));
    object.Set("released", static_cast<double>(counters.released));
    return object;
  }

  Napi::Value is_open(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), gate_->is_open()); }

  Napi::Value last_sequence(const Napi::CallbackInfo& info) {
    return Napi::BigInt::New(info.Env(), gate_->last_sequence());
  }

  std::shared_ptr<OutputGate> gate_;
};

}  // namespace

void define_gate(Napi::Env env, Napi::Object exports) {
  exports.Set("OutputGate", GateObject::define(env));
}

std::shared_ptr<OutputGate> gate_option(const Napi::Object& options, const char* key) {
  const Napi::Object object = object_option(options, key);
  if (!object.CheckTypeTag(&GateObject::kTag)) {
    fail("KEMARI_ARGUMENT", std::string("option ") + key + " is not an OutputGate");
  }
  return GateObject::Unwrap(object)->gate();
}

}  // namespace kemari
