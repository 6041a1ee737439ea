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
         InstanceMethod("cut", &GateObject::cut), InstanceMethod("setHeldListener", &GateObject::set_held_listener),
         InstanceMethod("requireLease", &GateObject::require_lease),
         InstanceMethod("renewLease", &GateObject::renew_lease), InstanceMethod("endLease", &GateObject::end_lease),
         InstanceAccessor("hasLease", &GateObject::has_lease, nullptr),
         InstanceAccessor("isOpen", &GateObject::is_open, nullptr),
         InstanceAccessor("lastSequence", &GateObject::last_sequence, nullptr)});
  }

  ~GateObject() override {
    if (held_) gate_->set_held_listener({});
  }

  const std::shared_ptr<OutputGate>& gate() const noexcept { return gate_; }

 private:
  struct Held {
    HeldOutput output;
    uint64_t sequence;
  };

  Napi::Value cut(const Napi::CallbackInfo& info) { return Napi::BigInt::New(info.Env(), gate_->cut()); }

  // setHeldListener(listener | undefined). It does not keep the process alive: the devices do.
  Napi::Value set_held_listener(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      if (!info[0].IsFunction() && !info[0].IsUndefined()) {
        fail("KEMARI_ARGUMENT", "setHeldListener needs a function, or undefined");
      }
      gate_->set_held_listener({});
      if (held_) held_.Release();
      held_ = {};
      if (info[0].IsUndefined()) return info.Env().Undefined();
      // Two may be under way, one of each kind, and two more of a cut that came meanwhile.
      constexpr size_t kUnlimited = 0;
      held_ =
          Napi::ThreadSafeFunction::New(info.Env(), info[0].As<Napi::Function>(), "kemari held output", kUnlimited, 1);
      held_.Unref(info.Env());
      gate_->set_held_listener([function = held_](HeldOutput output, uint64_t sequence) {
        auto* held = new Held{output, sequence};
        const napi_status status =
            function.NonBlockingCall(held, [](Napi::Env env, Napi::Function listener, Held* raw) {
              const std::unique_ptr<Held> owned(raw);
              Napi::Object event = Napi::Object::New(env);
              event.Set("output", owned->output == HeldOutput::kConsole ? "console" : "request");
              event.Set("sequence", Napi::BigInt::New(env, owned->sequence));
              listener.Call({event});
            });
        if (status != napi_ok) delete held;  // the environment is going
      });
      return info.Env().Undefined();
    });
  }

  Napi::Value require_lease(const Napi::CallbackInfo& info) {
    gate_->require_lease(info[0].ToBoolean().Value());
    return info.Env().Undefined();
  }

  Napi::Value end_lease(const Napi::CallbackInfo& info) {
    gate_->end_lease();
    return info.Env().Undefined();
  }

  Napi::Value renew_lease(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      bool lossless = false;
      int64_t until = 0;
      if (info[0].IsBigInt()) until = info[0].As<Napi::BigInt>().Int64Value(&lossless);
      if (!lossless) fail("KEMARI_ARGUMENT", "renewLease needs a bigint, nanoseconds of CLOCK_BOOTTIME");
      gate_->renew_lease(until);
      return info.Env().Undefined();
    });
  }

  Napi::Value has_lease(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), gate_->has_lease()); }

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
  Napi::ThreadSafeFunction held_;  // empty: nobody listens
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
