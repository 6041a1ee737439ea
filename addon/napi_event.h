// Device events from a ring thread to a JavaScript function.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>

#include "ring/ring_device.h"

namespace kemari {

// Delivers events in order on the JavaScript thread. Keeps the process alive until it is closed.
class EventChannel {
 public:
  EventChannel(Napi::Env env, Napi::Function listener);

  // For RingDevice::Options::on_event. Shares the channel; may be called from any thread, also after close() (the event
  // is then dropped).
  static std::function<void(DeviceEvent)> sink(std::shared_ptr<EventChannel> channel);

  // What was emitted before is still delivered. Idempotent. JavaScript thread.
  void close();

 private:
  void emit(DeviceEvent event);

  Napi::ThreadSafeFunction function_;
  std::mutex mutex_;  // of open_: events come from ring threads
  bool open_ = true;
};

}  // namespace kemari
