#include "ring/console/napi_console.h"

#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "napi_error.h"
#include "napi_gate.h"
#include "napi_options.h"
#include "napi_ring_device.h"
#include "ring/console/console_pump.h"

namespace kemari {

namespace {

// Waits for the pump's thread where JavaScript does not have to.
class ConsoleCloser : public Napi::AsyncWorker {
 public:
  ConsoleCloser(Napi::Env env, std::shared_ptr<ConsolePump> pump)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), pump_(std::move(pump)) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { pump_->stop(); }
  void OnOK() override { deferred_.Resolve(Env().Undefined()); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred deferred_;
  std::shared_ptr<ConsolePump> pump_;
};

class ConsoleObject : public Napi::ObjectWrap<ConsoleObject> {
 public:
  explicit ConsoleObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ConsoleObject>(info) {
    info.This().As<Napi::Object>().TypeTag(&kTag);
    guarded(info.Env(), [&] {
      constexpr int64_t kMaxFd = std::numeric_limits<int>::max();
      const Napi::Object options = first_argument(info);
      UniqueFd guest(static_cast<int>(integer_option(options, "guestFd", 0, kMaxFd)));
      UniqueFd outlet(static_cast<int>(integer_option(options, "outletFd", 0, kMaxFd)));
      pump_ = std::make_shared<ConsolePump>(std::move(guest), std::move(outlet), gate_option(options, "gate"));
    });
    Ref();  // until close(), even if JavaScript forgets it
  }

  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("Console",
                DefineClass(env, "Console",
                            {InstanceMethod("close", &ConsoleObject::close), InstanceMethod("cut", &ConsoleObject::cut),
                             InstanceMethod("restore", &ConsoleObject::restore)}));
  }

  // Tells Consoles from other objects that JavaScript may pass.
  static constexpr napi_type_tag kTag{0x6b656d6172690004, 0x636f6e736f6c6570};

  const std::shared_ptr<ConsolePump>& pump() const noexcept { return pump_; }

 private:
  Napi::Value cut(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      const std::vector<uint8_t> bytes = pump_->cut();
      return Napi::Buffer<uint8_t>::Copy(info.Env(), bytes.data(), bytes.size());
    });
  }

  Napi::Value restore(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      pump_->restore(bytes_argument(info[0]));
      return info.Env().Undefined();
    });
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    if (std::exchange(referenced_, false)) Unref();
    auto* closer = new ConsoleCloser(info.Env(), pump_);  // deletes itself
    const Napi::Promise promise = closer->promise();
    closer->Queue();
    return promise;
  }

  std::shared_ptr<ConsolePump> pump_;
  bool referenced_ = true;
};

}  // namespace

std::shared_ptr<ConsolePump> console_value(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&ConsoleObject::kTag)) {
    fail("KEMARI_ARGUMENT", "a Console is expected");
  }
  return ConsoleObject::Unwrap(value.As<Napi::Object>())->pump();
}

void define_console(Napi::Env env, Napi::Object exports) {
  ConsoleObject::define(env, exports);
}

}  // namespace kemari
