#include <time.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "link/link_receiver.h"
#include "link/napi_link_object.h"
#include "ring/ring_state.h"
#include "xen/domain_image.h"

namespace kemari {

namespace {

constexpr int64_t kMaxTimeMs = 3'600'000;
constexpr int64_t kMaxDevices = 256;
constexpr int64_t kMaxFrames = int64_t{1} << 30;    // 4 TiB of address space
constexpr uint64_t kStagingBesidePages = 64 << 20;  // device state, and what describes the pages

void sleep_until(BootClock::time_point until) {
  const auto since = until.time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  const timespec when{.tv_sec = seconds.count(), .tv_nsec = (since - seconds).count()};
  while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &when, nullptr) == EINTR) continue;
}

Napi::Buffer<uint8_t> to_buffer(Napi::Env env, const std::vector<uint8_t>& bytes) {
  return Napi::Buffer<uint8_t>::Copy(env, bytes.data(), bytes.size());
}

Napi::Value taken(Napi::Env env, const EpochState& state) {
  if (state.epoch == 0) fail("KEMARI_NO_EPOCH", "no checkpoint is complete on the standby: there is nothing to run");
  Napi::Array devices = Napi::Array::New(env, state.devices.size());
  for (uint32_t i = 0; i < state.devices.size(); i++) devices.Set(i, to_buffer(env, state.devices[i]));
  Napi::Object result = Napi::Object::New(env);
  result.Set("epoch", Napi::BigInt::New(env, state.epoch));
  result.Set("machineState", to_buffer(env, state.machine_state));
  result.Set("devices", devices);
  result.Set("console", to_buffer(env, state.console));
  result.Set("guestPaused", state.guest_paused);
  return result;
}

Napi::Promise resolved(Napi::Env env, Napi::Value value) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Resolve(value);
  return deferred.Promise();
}

uint64_t staging_option(const Napi::Object& options, uint64_t ram_bytes) {
  if (options.Get("stagingBytes").IsUndefined()) return ram_bytes + kStagingBesidePages;
  return static_cast<uint64_t>(integer_option(options, "stagingBytes", 1, kMaxSafeInteger));
}

// Guest memory as this host has it, and how much that can be.
std::unique_ptr<RamImage> image_option(const Napi::Object& options, uint64_t& ram_bytes) {
  if (options.Get("xen").IsUndefined()) {
    auto image = std::make_unique<RamFileImage>(static_cast<int>(integer_option(options, "ramFd", 0, INT32_MAX)));
    ram_bytes = image->page_count() * kPageBytes;
    return image;
  }
  const Napi::Object xen = object_option(options, "xen");
  const auto domid = static_cast<uint16_t>(integer_option(xen, "domid", 1, xen::kMaxDomid));
  auto image =
      std::make_unique<xen::DomainImage>(domid, static_cast<uint64_t>(integer_option(xen, "frames", 1, kMaxFrames)));
  ram_bytes = image->memory_bytes();
  return image;
}

// Of one device of an epoch. What cannot be read is a reason for caution here, and for a refusal when it is restored.
bool has_pending_writes(std::span<const uint8_t> cut) {
  try {
    return may_land_late(decode_ring_state(cut));
  } catch (const Error&) {
    return true;
  }
}

class LinkReceiverObject : public LinkObject<LinkReceiverObject, LinkReceiver, false> {
 public:
  explicit LinkReceiverObject(const Napi::CallbackInfo& info) : LinkObject(info) {
    guarded(info.Env(), [&] {
      const Napi::Object options = first_argument(info);
      LinkReceiver::Options made{
          .connections = connections_option(options),
          .ram = nullptr,
          .device_count = static_cast<uint32_t>(integer_option(options, "deviceCount", 0, kMaxDevices)),
          .staging_bytes = 0,
          .takeover_timeout = std::chrono::milliseconds(integer_option(options, "takeoverTimeoutMs", 1, kMaxTimeMs)),
          .has_pending_writes = has_pending_writes,
          .on_event = {},
      };
      if (made.takeover_timeout <= made.connections.lease_time) {
        fail("KEMARI_ARGUMENT", "takeoverTimeoutMs has to be longer than leaseMs");
      }
      uint64_t ram_bytes = 0;
      made.ram = image_option(options, ram_bytes);
      made.staging_bytes = staging_option(options, ram_bytes);
      make(info.Env(), options, std::move(made));
      start();
    });
  }

  static Napi::Function define(Napi::Env env) {
    return define_class(
        env, "LinkReceiver",
        {InstanceMethod("ack", &LinkReceiverObject::ack),
         InstanceMethod("stopGranting", &LinkReceiverObject::stop_granting),
         InstanceMethod("take", &LinkReceiverObject::take), InstanceMethod("stats", &LinkReceiverObject::stats)});
  }

 private:
  Napi::Value ack(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      bool lossless = false;
      uint64_t epoch = 0;
      if (info[0].IsBigInt()) epoch = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
      if (!lossless) fail("KEMARI_ARGUMENT", "ack needs an epoch, a bigint");
      link()->ack(epoch);
      return info.Env().Undefined();
    });
  }

  // The thread pool may be busy and a takeover has no time: where there is nothing to wait for, it is not asked.
  Napi::Value stop_granting(const Napi::CallbackInfo& info) {
    const BootClock::time_point over = link()->stop_granting();
    if (info[0].ToBoolean().Value() || BootClock::now() >= over) return resolved(info.Env(), info.Env().Undefined());
    return PromiseJob::run(info.Env(), [over] { sleep_until(over); });
  }

  // Waits here: nothing can go on before the reading thread has come to its end, which is near.
  Napi::Value take(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    link()->stop_reading();
    try {
      return resolved(env, taken(env, link()->committed()));
    } catch (const Error& error) {
      const auto deferred = Napi::Promise::Deferred::New(env);
      deferred.Reject(to_napi_error(env, error).Value());
      return deferred.Promise();
    }
  }

  Napi::Value stats(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto number = [env](uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); };
    const LinkReceiverStats stats = link()->stats();
    Napi::Object result = Napi::Object::New(env);
    result.Set("receivedBytes", number(stats.received_bytes));
    result.Set("pagesReceived", number(stats.pages_received));
    result.Set("committedEpoch", Napi::BigInt::New(env, stats.committed_epoch));
    result.Set("stagedBytes", number(stats.staged_bytes));
    result.Set("stagedBytesPeak", number(stats.staged_bytes_peak));
    result.Set("applyUs", std::chrono::duration<double, std::micro>(stats.apply_time).count());
    return result;
  }
};

}  // namespace

void define_link_receiver(Napi::Env env, Napi::Object exports) {
  exports.Set("LinkReceiver", LinkReceiverObject::define(env));
}

}  // namespace kemari
