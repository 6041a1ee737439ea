#include <memory>
#include <utility>

#include "link/link_sender.h"
#include "link/napi_link_object.h"
#include "link/napi_sink.h"
#include "napi_gate.h"

namespace kemari {

namespace {

constexpr int64_t kDefaultCacheBytes = 64 << 20;
constexpr int64_t kMaxCacheBytes = 64ll << 30;

Compress compress_option(const Napi::Object& options) {
  const std::string name = optional_string_option(options, "compress").value_or("auto");
  if (name == "auto") return Compress::kAuto;
  if (name == "always") return Compress::kAlways;
  if (name == "never") return Compress::kNever;
  fail("KEMARI_ARGUMENT", "option compress is " + name + ", expected auto, always or never");
}

class LinkSenderObject : public LinkObject<LinkSenderObject, LinkSender, true> {
 public:
  explicit LinkSenderObject(const Napi::CallbackInfo& info) : LinkObject(info) {
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
      make(info.Env(), options, std::move(made));
      expose_sink(info.This().As<Napi::Object>(), link());
      start();
    });
  }

  static Napi::Function define(Napi::Env env) {
    return define_class(env, "LinkSender", {InstanceMethod("stats", &LinkSenderObject::stats)});
  }

 private:
  Napi::Value stats(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto number = [env](uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); };
    const LinkSenderStats stats = link()->stats();
    const PageCounts& counts = link()->page_counts();
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
    result.Set("cpuUs", microseconds(stats.cpu_time));
    return result;
  }
};

}  // namespace

void define_link_sender(Napi::Env env, Napi::Object exports) {
  exports.Set("LinkSender", LinkSenderObject::define(env));
}

}  // namespace kemari
