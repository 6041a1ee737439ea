#include "napi_event.h"

#include <utility>

#include "error.h"

namespace kemari {

namespace {

constexpr size_t kMaxQueuedEvents = 0;  // no limit; a device sends few, and each at most once for a fault

const char* type_name(DeviceEvent::Type type) {
  switch (type) {
    case DeviceEvent::Type::kStarted:
      return "started";
    case DeviceEvent::Type::kDisconnected:
      return "disconnected";
    case DeviceEvent::Type::kProtocolError:
      return "protocol-error";
    case DeviceEvent::Type::kQueueBroken:
      return "queue-broken";
    case DeviceEvent::Type::kIoError:
      return "io-error";
  }
  assertion_failed("a device event has a type", __FILE__, __LINE__);
}

}  // namespace

EventChannel::EventChannel(Napi::Env env, Napi::Function listener)
    : function_(Napi::ThreadSafeFunction::New(env, listener, "kemari device events", kMaxQueuedEvents, 1)) {}

std::function<void(DeviceEvent)> EventChannel::sink(std::shared_ptr<EventChannel> channel) {
  return [channel = std::move(channel)](DeviceEvent event) { channel->emit(std::move(event)); };
}

void EventChannel::emit(DeviceEvent event) {
  const std::lock_guard lock(mutex_);
  if (!open_) return;
  auto* passed = new DeviceEvent(std::move(event));
  const napi_status status =
      function_.NonBlockingCall(passed, [](Napi::Env env, Napi::Function listener, DeviceEvent* raw) {
        const std::unique_ptr<DeviceEvent> owned(raw);
        Napi::Object object = Napi::Object::New(env);
        object.Set("type", type_name(owned->type));
        object.Set("code", owned->code);
        object.Set("text", owned->text);
        listener.Call({object});
      });
  if (status != napi_ok) delete passed;  // the environment is going
}

void EventChannel::close() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(open_, false)) function_.Release();
}

}  // namespace kemari
