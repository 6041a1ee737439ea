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

// A device's cut: what has an origin is shared, as a frozen request is.
kemari::TracedBytes device_of(const std::vector<uint8_t>& bytes, uint32_t device, const Napi::Array& origins) {
  std::vector<uint8_t> own;
  std::vector<kemari::TracedBytes::Shared> shared;
  size_t done = 0;
  for (uint32_t i = 0; i < origins.Length(); i++) {
    const auto origin = origins.Get(i).As<Napi::Array>();
    const auto field = [&](uint32_t at) {
      return static_cast<uint64_t>(origin.Get(at).As<Napi::Number>().Int64Value());
    };
    if (field(0) != device) continue;
    const uint64_t at = field(1);
    const uint64_t length = field(3);
    own.insert(own.end(), bytes.data() + done, bytes.data() + at);
    std::shared_ptr<uint8_t[]> copy(new uint8_t[length]);
    std::memcpy(copy.get(), bytes.data() + at, length);
    shared.push_back({own.size(), {std::move(copy), length, {{0, field(2), length}}}});
    done = at + length;
  }
  own.insert(own.end(), bytes.data() + done, bytes.data() + bytes.size());
  return {std::move(own), std::move(shared)};
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
    const Napi::Value origins = source.Get("origins");
    const auto told = origins.IsArray() ? origins.As<Napi::Array>() : Napi::Array::New(info.Env());
    for (uint32_t i = 0; i < devices.Length(); i++) {
      checkpoint->devices[i] = device_of(bytes_of(devices.Get(i)), i, told);
    }
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
