#include <memory>
#include <utility>

#include "link/link_sender.h"
#include "link/napi_link.h"
#include "link/napi_sink.h"
#include "napi_error.h"
#include "napi_gate.h"
#include "napi_options.h"
#include "napi_promise.h"

namespace kemari {

namespace {

constexpr int64_t kMaxSafeInteger = (1ll << 53) - 1;
constexpr int64_t kDefaultCacheBytes = 64 << 20;
constexpr int64_t kMaxCacheBytes = 64ll << 30;

Compress compress_option(const Napi::Object& options) {
  const std::string name = optional_string_option(options, "compress").value_or("auto");
  if (name == "auto") return Compress::kAuto;
  if (name == "always") return Compress::kAlways;
  if (name == "never") return Compress::kNever;
  fail("KEMARI_ARGUMENT", "option compress is " + name + ", expected auto, always or never");
}

double microseconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

class LinkSenderObject : public Napi::ObjectWrap<LinkSenderObject> {
 public:
  explicit LinkSenderObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<LinkSenderObject>(info) {
    guarded(info.Env(), [&] {
      const Napi::Object options = first_argument(info);
      LinkSender::Options made{
          .connections = connections_option(options),
          .ram_pages = static_cast<uint64_t>(integer_option(options, "ramBytes", 1, kMaxSafeInteger)) / kPageBytes,
          .cache_bytes = kDefaultCacheBytes,
          .compress = compress_option(options),
          .renew_lease = {},
          .on_event = {},
      };
      if (!options.Get("cacheBytes").IsUndefined()) {
        made.cache_bytes = static_cast<uint64_t>(integer_option(options, "cacheBytes", 0, kMaxCacheBytes));
      }
      made.renew_lease = [gate = gate_option(options, "gate")](BootClock::time_point until) {
        gate->renew_lease(until.time_since_epoch().count());
      };
      events_ = std::make_shared<LinkEventChannel>(info.Env(), function_option(options, "onEvent"));
      made.on_event = LinkEventChannel::sink(events_);
      try {
        link_ = std::make_shared<LinkSender>(std::move(made));
      } catch (...) {
        events_->close();
        throw;
      }
      expose_sink(info.This().As<Napi::Object>(), link_);
      link_->start();
      Ref();  // until close(), even if JavaScript forgets it
    });
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "LinkSender",
        {InstanceMethod("send", &LinkSenderObject::send), InstanceMethod("stats", &LinkSenderObject::stats),
         InstanceMethod("close", &LinkSenderObject::close)});
  }

 private:
  Napi::Value send(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      const WordMessage message = word_arguments(info, true);
      link_->say(message.word, message.text);
      return info.Env().Undefined();
    });
  }

  Napi::Value stats(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto number = [env](uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); };
    const LinkSenderStats stats = link_->stats();
    const PageCounts& counts = link_->page_counts();
    Napi::Object pages = Napi::Object::New(env);
    pages.Set("raw", number(counts.raw));
    pages.Set("zero", number(counts.zero));
    pages.Set("lz4", number(counts.lz4));
    pages.Set("delta", number(counts.delta));
    pages.Set("unchanged", number(counts.unchanged));
    Napi::Object ack = Napi::Object::New(env);
    ack.Set("last", microseconds(stats.ack.last));
    ack.Set("p50", microseconds(stats.ack.p50));
    ack.Set("p99", microseconds(stats.ack.p99));
    Napi::Object result = Napi::Object::New(env);
    result.Set("queuedBytes", number(stats.queued_bytes));
    result.Set("sentBytes", number(stats.sent_bytes));
    result.Set("rawBytes", number(stats.raw_bytes));
    result.Set("pagesSent", number(counts.raw + counts.zero + counts.lz4 + counts.delta));
    result.Set("pages", pages);
    result.Set("ackedEpoch", Napi::BigInt::New(env, stats.acked_epoch));
    result.Set("ackUs", ack);
    result.Set("bytesPerSecond", stats.bytes_per_second);
    result.Set("rttUs", microseconds(stats.round_trip));
    result.Set("leaseValid", stats.lease_valid);
    return result;
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    if (std::exchange(referenced_, false)) Unref();
    return PromiseJob::run(
        info.Env(), [link = link_] { link->close(); },
        [events = events_](Napi::Env env) {
          events->close();
          return env.Undefined();
        });
  }

  std::shared_ptr<LinkEventChannel> events_;
  std::shared_ptr<LinkSender> link_;
  bool referenced_ = true;
};

}  // namespace

void define_link_sender(Napi::Env env, Napi::Object exports) {
  exports.Set("LinkSender", LinkSenderObject::define(env));
}

}  // namespace kemari
