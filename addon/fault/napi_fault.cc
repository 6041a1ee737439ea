#include "fault/napi_fault.h"

#include <string>

#include "error.h"
#include "fault/fault.h"
#include "napi_error.h"
#include "napi_options.h"

namespace kemari {

namespace {

constexpr int64_t kMaxMs = 1 << 30;
constexpr int64_t kMaxPass = 1ll << 40;

FaultAction action_of(const std::string& name) {
  if (name == "kill") return FaultAction::kKill;
  if (name == "stop") return FaultAction::kStop;
  if (name == "stall") return FaultAction::kStall;
  if (name == "delay") return FaultAction::kDelay;
  fail("KEMARI_ARGUMENT", "a fault's action is '" + name + "'; expected kill, stop, stall or delay");
}

Napi::Value arm(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const Napi::Object options = first_argument(info);
    if (armed_fault.load() != 0) fail("KEMARI_ARGUMENT", "a fault is armed already");
    arm_fault({
        .point = string_option(options, "point"),
        .action = action_of(string_option(options, "action")),
        .duration = std::chrono::milliseconds(integer_option(options, "durationMs", 0, kMaxMs)),
        .pass = static_cast<uint64_t>(integer_option(options, "pass", 1, kMaxPass)),
    });
    return info.Env().Undefined();
  });
}

void pass(const Napi::CallbackInfo&) {
  pass_armed_fault();
}

}  // namespace

void define_fault(Napi::Env env, Napi::Object exports) {
  exports.Set("armFault", Napi::Function::New(env, arm, "armFault"));
  exports.Set("passArmedFault", Napi::Function::New(env, pass, "passArmedFault"));
}

}  // namespace kemari
