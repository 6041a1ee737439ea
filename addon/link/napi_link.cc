#include "link/napi_link.h"

#include <algorithm>
#include <array>
#include <utility>

#include "error.h"
#include "napi_options.h"

namespace kemari {

namespace {

constexpr size_t kMaxQueuedEvents = 0;  // emit() has a limit of its own, which lets the last event through
constexpr int64_t kDefaultConnectTimeoutMs = 5000;
constexpr int64_t kMaxTimeMs = 3'600'000;

constexpr std::array kWords{"go", "goodbye", "machine-died", "switchover", "taken", "disarmed", "refused"};

const char* word_name(Word word) {
  return kWords[static_cast<size_t>(word) - 1];
}

Napi::Object describe_way(Napi::Env env, const EpochWay& way) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("encodeUs", microseconds(way.encode));
  object.Set("sendUs", microseconds(way.send));
  object.Set("ackUs", microseconds(way.ack));
  object.Set("heardAtUs", microseconds(way.heard.time_since_epoch()));
  return object;
}

void describe(const LinkEvent& event, Napi::Object object) {
  const Napi::Env env = object.Env();
  switch (event.type) {
    case LinkEvent::Type::kConnected:
      object.Set("type", "connected");
      return;
    case LinkEvent::Type::kAcked:
      object.Set("type", "acked");
      object.Set("epoch", Napi::BigInt::New(env, event.epoch));
      if (event.way) object.Set("way", describe_way(env, *event.way));
      return;
    case LinkEvent::Type::kCommitted:
      object.Set("type", "committed");
      object.Set("epoch", Napi::BigInt::New(env, event.epoch));
      object.Set("pages", static_cast<double>(event.pages));
      object.Set("bytes", static_cast<double>(event.bytes));
      object.Set("writesPending", event.writes_pending);
      object.Set("guestPaused", event.guest_paused);
      return;
    case LinkEvent::Type::kWord:
      object.Set("type", "word");
      object.Set("word", word_name(event.word));
      object.Set("text", event.text);
      return;
    case LinkEvent::Type::kLease:
      object.Set("type", "lease");
      object.Set("valid", event.valid);
      return;
    case LinkEvent::Type::kSilent:
      object.Set("type", "silent");
      return;
    case LinkEvent::Type::kHeard:
      object.Set("type", "heard");
      return;
    case LinkEvent::Type::kLost:
      object.Set("type", "lost");
      object.Set("code", event.code);
      object.Set("text", event.text);
      return;
  }
  assertion_failed("a link's event has a type", __FILE__, __LINE__);
}

template <size_t Size>
std::array<uint8_t, Size> octets(const Napi::Value& value, const char* key) {
  if (!value.IsBuffer() || value.As<Napi::Buffer<uint8_t>>().Length() != Size) {
    fail("KEMARI_ARGUMENT", std::string("option ") + key + " is no Buffer of " + std::to_string(Size) + " bytes");
  }
  std::array<uint8_t, Size> copy;
  std::copy_n(value.As<Napi::Buffer<uint8_t>>().Data(), Size, copy.begin());
  return copy;
}

}  // namespace

double microseconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

LinkEventChannel::LinkEventChannel(Napi::Env env, Napi::Function listener)
    : function_(Napi::ThreadSafeFunction::New(env, listener, "kemari link events", kMaxQueuedEvents, 1)) {}

LinkListener LinkEventChannel::sink(std::shared_ptr<LinkEventChannel> channel) {
  return [channel = std::move(channel)](LinkEvent event) { return channel->emit(std::move(event)); };
}

bool LinkEventChannel::emit(LinkEvent event) {
  const std::lock_guard lock(mutex_);
  if (!state_->open) return true;
  if (state_->waiting >= kMaxWaiting && event.type != LinkEvent::Type::kLost) return false;
  auto* passed = new Waiting{state_, std::move(event)};
  state_->waiting++;
  const napi_status status =
      function_.NonBlockingCall(passed, [](Napi::Env env, Napi::Function listener, Waiting* raw) {
        const std::unique_ptr<Waiting> owned(raw);
        owned->state->waiting--;
        if (!owned->state->open) return;
        Napi::Object object = Napi::Object::New(env);
        describe(owned->event, object);
        listener.Call({object});
      });
  if (status != napi_ok) delete passed;  // the environment is going
  return true;
}

void LinkEventChannel::close() {
  const std::lock_guard lock(mutex_);
  if (state_->open.exchange(false)) function_.Release();
}

LinkConnections connections_option(const Napi::Object& options) {
  LinkConnections connections;
  connections.stream.reset(static_cast<int>(integer_option(options, "streamFd", 0, INT32_MAX)));
  connections.lease.reset(static_cast<int>(integer_option(options, "leaseFd", 0, INT32_MAX)));
  const Napi::Value key = options.Get("key");
  if (!key.IsUndefined()) connections.key = octets<kLinkKeyBytes>(key, "key");
  connections.token = octets<kLinkTokenBytes>(options.Get("token"), "token");
  connections.lease_time = std::chrono::milliseconds(integer_option(options, "leaseMs", 1, kMaxTimeMs));
  const bool has_timeout = !options.Get("connectTimeoutMs").IsUndefined();
  connections.connect_timeout = std::chrono::milliseconds(
      has_timeout ? integer_option(options, "connectTimeoutMs", 1, kMaxTimeMs) : kDefaultConnectTimeoutMs);
  return connections;
}

WordMessage word_arguments(const Napi::CallbackInfo& info, bool is_primary) {
  const std::string name = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  const auto found = std::find(kWords.begin(), kWords.end(), name);
  const auto word = static_cast<Word>(found - kWords.begin() + 1);
  if (found == kWords.end() || is_primary_word(word) != is_primary) {
    fail("KEMARI_ARGUMENT", "\"" + name + "\" is no word that this side of a link says");
  }
  return {word, info[1].IsString() ? info[1].As<Napi::String>().Utf8Value() : ""};
}

}  // namespace kemari
