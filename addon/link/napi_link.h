// The LinkSender and LinkReceiver classes of JavaScript (src/native/link.ts).
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "link/link_event.h"
#include "link/link_options.h"

namespace kemari {

void define_link_sender(Napi::Env env, Napi::Object exports);
void define_link_receiver(Napi::Env env, Napi::Object exports);

// Delivers a link's events in order on the JavaScript thread. Keeps the process alive until it is closed.
class LinkEventChannel {
 public:
  LinkEventChannel(Napi::Env env, Napi::Function listener);
  // Shares the channel; from any thread; after close() the event is dropped.
  static LinkListener sink(std::shared_ptr<LinkEventChannel> channel);
  // JavaScript thread; idempotent.
  void close();

 private:
  void emit(LinkEvent event);

  Napi::ThreadSafeFunction function_;
  std::mutex mutex_;
  bool open_ = true;
};

// streamFd, leaseFd (which are closed if anything fails from here on), key, token, leaseMs, connectTimeoutMs.
LinkConnections connections_option(const Napi::Object& options);
// The first two arguments of send(): a word that this side says, and its text.
WordMessage word_arguments(const Napi::CallbackInfo& info, bool is_primary);

}  // namespace kemari
