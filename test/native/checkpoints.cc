#include "checkpoints.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "link/checkpoint.h"
#include "link/napi_sink.h"
#include "napi_promise.h"

namespace {

using kemari::CheckpointSink;

std::vector<uint8_t> bytes_of(const Napi::Value& value) {
  const auto buffer = value.As<Napi::Uint8Array>();
  return {buffer.Data(), buffer.Data() + buffer.ElementLength()};
}

void add_origins(const Napi::Array& origins, kemari::Checkpoint& checkpoint) {
  for (uint32_t i = 0; i < origins.Length(); i++) {
    const auto origin = origins.Get(i).As<Napi::Array>();
    const auto field = [&](uint32_t at) {
      return static_cast<uint64_t>(origin.Get(at).As<Napi::Number>().Int64Value());
    };
    checkpoint.devices[field(0)].origins.push_back({field(1), field(2), field(3)});
  }
}

// submitCheckpoint({link}, {epoch, ranges: [[first, count]...], pages, machineState, devices, console, guestPaused,
// origins?: [[device, at, offset, length]...]})
Napi::Value submit_checkpoint(const Napi::CallbackInfo& info) {
  return kemari::guarded(info.Env(), [&] {
    const std::shared_ptr<CheckpointSink> sink = kemari::sink_option(info[0].As<Napi::Object>(), "link");
    const auto source = info[1].As<Napi::Object>();
    std::unique_ptr<kemari::Checkpoint> checkpoint = sink->take();
    bool lossless;
    checkpoint->epoch = source.Get("epoch").As<Napi::BigInt>().Uint64Value(&lossless);
    const auto ranges = source.Get("ranges").As<Napi::Array>();
    for (uint32_t i = 0; i < ranges.Length(); i++) {
      const auto range = ranges.Get(i).As<Napi::Array>();
      checkpoint->ranges.push_back({static_cast<uint64_t>(range.Get(0u).As<Napi::Number>().Int64Value()),
                                    static_cast<uint64_t>(range.Get(1u).As<Napi::Number>().Int64Value())});
    }
    const auto pages = source.Get("pages").As<Napi::Uint8Array>();
    uint8_t* room = checkpoint->pages.append(pages.ElementLength() / kemari::kPageBytes);
    if (pages.ElementLength() > 0) std::memcpy(room, pages.Data(), pages.ElementLength());
    checkpoint->machine_state = bytes_of(source.Get("machineState"));
    const auto devices = source.Get("devices").As<Napi::Array>();
    checkpoint->devices.resize(devices.Length());
    for (uint32_t i = 0; i < devices.Length(); i++) checkpoint->devices[i].bytes = bytes_of(devices.Get(i));
    if (source.Get("origins").IsArray()) add_origins(source.Get("origins").As<Napi::Array>(), *checkpoint);
    checkpoint->console = bytes_of(source.Get("console"));
    checkpoint->guest_paused = source.Get("guestPaused").ToBoolean().Value();
    sink->submit(std::move(checkpoint));
    return info.Env().Undefined();
  });
}

// waitForRoom({link}): Promise<boolean>
Napi::Value wait_for_room(const Napi::CallbackInfo& info) {
  return kemari::guarded(info.Env(), [&] {
    const std::shared_ptr<CheckpointSink> sink = kemari::sink_option(info[0].As<Napi::Object>(), "link");
    const auto has_room = std::make_shared<bool>(false);
    return kemari::PromiseJob::run(
        info.Env(), [sink, has_room] { *has_room = sink->wait_for_room(); },
        [has_room](Napi::Env env) { return Napi::Boolean::New(env, *has_room); });
  });
}

}  // namespace

void define_checkpoints(Napi::Env env, Napi::Object exports) {
  exports.Set("submitCheckpoint", Napi::Function::New(env, submit_checkpoint));
  exports.Set("waitForRoom", Napi::Function::New(env, wait_for_room));
}
