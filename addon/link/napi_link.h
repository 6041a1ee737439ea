// The LinkSender and LinkReceiver classes of JavaScript (src/native/link.ts).
#pragma once

#include <napi.h>

#include <atomic>
#include <cstdint>
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
  // Shares the channel; from any thread. After close() nothing is delivered any more, whatever was emitted.
  static LinkListener sink(std::shared_ptr<LinkEventChannel> channel);
  // JavaScript thread; idempotent.
  void close();

 private:
  // Far more than a link has on its way when both sides do as they should.
  static constexpr uint32_t kMaxWaiting = 4096;
  // Shared with the events that are on their way.
  struct State {
    std::atomic<uint32_t> waiting{0};
    std::atomic<bool> open{true};
  };
  struct Waiting {
    std::shared_ptr<State> state;
    LinkEvent event;
  };

  bool emit(LinkEvent event);

  std::shared_ptr<State> state_ = std::make_shared<State>();
  Napi::ThreadSafeFunction function_;
  std::mutex mutex_;  // of closing: events come from other threads
};

// As times are told to JavaScript.
double microseconds(std::chrono::nanoseconds time);
// streamFd, leaseFd (which are closed if anything fails from here on), key, token, leaseMs, connectTimeoutMs.
LinkConnections connections_option(const Napi::Object& options);
// The first two arguments of send(): a word that this side says, and its text.
WordMessage word_arguments(const Napi::CallbackInfo& info, bool is_primary);

}  // namespace kemari
