#include "capture/napi_capture.h"

#include <fcntl.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "capture/capture_thread.h"
#include "capture/qemu_capture.h"
#include "clock.h"
#include "link/napi_sink.h"
#include "napi_error.h"
#include "napi_gate.h"
#include "napi_options.h"
#include "napi_ring_device.h"
#include "ring/console/napi_console.h"
#include "xen/abi.h"
#include "xen/xen_capture.h"

namespace kemari {

namespace {

// What a call gave, made into its value on the JavaScript thread.
using Answer = std::function<Napi::Value(Napi::Env)>;
using Body = std::function<Answer(Capture&)>;

struct Call;
void settle(Napi::Env env, Napi::Function, void*, Call* call);
using Settler = Napi::TypedThreadSafeFunction<void, Call, settle>;

// One call: travels to the capture's thread and back.
struct Call {
  Napi::Promise::Deferred deferred;
  Body body;
  Answer answer;
  std::unique_ptr<Error> error;
  std::shared_ptr<CaptureThread> ending;  // the last call of this thread
  Settler settler;
};

void settle(Napi::Env env, Napi::Function, void*, Call* raw) {
  const std::unique_ptr<Call> call(raw);
  if (call->ending) {
    call->ending.reset();  // has nothing left to do
    call->settler.Release();
  }
  if (env == nullptr) return;  // the environment is going
  if (call->error) {
    call->deferred.Reject(to_napi_error(env, *call->error).Value());
  } else {
    call->deferred.Resolve(call->answer(env));
  }
}

double microseconds(int64_t ns) {
  constexpr double kNsPerUs = 1000;
  return static_cast<double>(ns) / kNsPerUs;
}

Napi::Value nothing(Napi::Env env) {
  return env.Undefined();
}

Napi::Value capture_object(Napi::Env env, const CaptureResult& result) {
  Napi::Object timings = Napi::Object::New(env);
  timings.Set("triggerUs", microseconds(result.trigger_ns));
  timings.Set("stopUs", microseconds(result.stop_ns));
  timings.Set("scanUs", microseconds(result.scan_ns));
  timings.Set("copyUs", microseconds(result.copy_ns));
  timings.Set("serializeUs", microseconds(result.serialize_ns));
  timings.Set("resumeUs", microseconds(result.resume_ns));
  Napi::Object object = Napi::Object::New(env);
  object.Set("epoch", Napi::BigInt::New(env, result.epoch));
  object.Set("throughSequence", Napi::BigInt::New(env, result.through_sequence));
  object.Set("pauseUs", microseconds(result.pause_ns));
  object.Set("busyShare", result.busy_share);
  object.Set("dirtyPages", static_cast<double>(result.dirty_pages));
  object.Set("stateBytes", static_cast<double>(result.state_bytes));
  object.Set("wasRunning", result.was_running);
  object.Set("resumed", result.resumed);
  object.Set("timings", timings);
  return object;
}

Napi::Value round_object(Napi::Env env, const CopyRoundResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("pages", static_cast<double>(result.pages));
  object.Set("bytes", static_cast<double>(result.pages * kPageBytes));
  object.Set("dirtyLeft", static_cast<double>(result.dirty_left));
  return object;
}

Napi::Value resumed_object(Napi::Env env, const CaptureResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("pauseUs", microseconds(result.pause_ns));
  object.Set("resumed", result.resumed);
  return object;
}

uint64_t epoch_argument(const Napi::Value& value) {
  bool lossless = false;
  uint64_t epoch = 0;
  if (value.IsBigInt()) epoch = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless || epoch == 0) fail("KEMARI_ARGUMENT", "an epoch is a bigint above 0");
  return epoch;
}

ResumePolicy policy_argument(const Napi::Value& value) {
  const std::string policy = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (policy == "at-once") return ResumePolicy::kAtOnce;
  if (policy == "after-ack" || policy == "never") return ResumePolicy::kHeld;
  fail("KEMARI_ARGUMENT", "resume is '" + policy + "'; expected at-once, after-ack or never");
}

Capture::Outputs outputs_options(const Napi::Object& options) {
  Capture::Outputs outputs;
  outputs.gate = gate_option(options, "gate");
  const Napi::Object devices = object_option(options, "devices");
  if (!devices.IsArray()) fail("KEMARI_ARGUMENT", "option devices is no array");
  const auto list = devices.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) outputs.devices.push_back(ring_device_value(list.Get(i)));
  if (!options.Get("console").IsUndefined()) outputs.console = console_value(options.Get("console"));
  outputs.sink = sink_option(options, "link");
  return outputs;
}

std::unique_ptr<Capture> qemu_capture(const Napi::Object& options) {
  QemuCapture::Domain domain;
  domain.monitor.reset(static_cast<int>(integer_option(options, "monitorFd", 0, INT32_MAX)));
  domain.process = static_cast<pid_t>(integer_option(options, "pid", 1, INT32_MAX));
  const Napi::Object threads = object_option(options, "vcpuThreads");
  if (!threads.IsArray()) fail("KEMARI_ARGUMENT", "option vcpuThreads is no array");
  for (uint32_t i = 0; i < threads.As<Napi::Array>().Length(); i++) {
    const Napi::Value thread = threads.As<Napi::Array>().Get(i);
    if (!thread.IsNumber()) fail("KEMARI_ARGUMENT", "option vcpuThreads holds what is no number");
    domain.vcpu_threads.push_back(thread.As<Napi::Number>().Int32Value());
  }
  const int ram = static_cast<int>(integer_option(options, "ramFd", 0, INT32_MAX));
  domain.ram_file.reset(fcntl(ram, F_DUPFD_CLOEXEC, 0));
  if (!domain.ram_file.valid()) fail_errno("KEMARI_ARGUMENT", "fcntl", "ramFd is no descriptor");
  domain.outputs = outputs_options(options);
  return std::make_unique<QemuCapture>(std::move(domain));
}

std::unique_ptr<Capture> capture_of(const Napi::Object& options) {
  if (options.Get("xenDomid").IsUndefined()) return qemu_capture(options);
  const auto domid = static_cast<uint16_t>(integer_option(options, "xenDomid", 1, xen::kMaxDomid));
  return std::make_unique<xen::XenCapture>(domid, outputs_options(options));
}

class CaptureObject : public Napi::ObjectWrap<CaptureObject> {
 public:
  explicit CaptureObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CaptureObject>(info) {
    guarded(info.Env(), [&] { thread_ = std::make_shared<CaptureThread>(capture_of(first_argument(info))); });
    settler_ = Settler::New(info.Env(), "kemari capture", 0, 1);
    Ref();  // until close(), even if JavaScript forgets it
  }

  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set(
        "Capture",
        DefineClass(
            env, "Capture",
            {InstanceMethod("attach", &CaptureObject::attach), InstanceMethod("copyRound", &CaptureObject::copy_round),
             InstanceMethod("countDirty", &CaptureObject::count_dirty),
             InstanceMethod("capture", &CaptureObject::capture), InstanceMethod("resume", &CaptureObject::resume),
             InstanceMethod("detach", &CaptureObject::detach), InstanceMethod("close", &CaptureObject::close)}));
  }

 private:
  // A promise for what `body` gives on the capture's thread.
  Napi::Value run(const Napi::CallbackInfo& info, Body body) {
    if (!thread_) {
      const auto deferred = Napi::Promise::Deferred::New(info.Env());
      deferred.Reject(to_napi_error(info.Env(), Error("KEMARI_CAPTURE_CLOSED", "the capture is closed")).Value());
      return deferred.Promise();
    }
    return post(info.Env(), std::move(body), nullptr);
  }

  Napi::Promise post(Napi::Env env, Body body, std::shared_ptr<CaptureThread> ending) {
    auto* call =
        new Call{Napi::Promise::Deferred::New(env), std::move(body), nullptr, nullptr, std::move(ending), settler_};
    const Napi::Promise promise = call->deferred.Promise();
    thread_->post([call](Capture& capture) {
      try {
        call->answer = call->body(capture);
      } catch (const Error& error) {
        call->error = std::make_unique<Error>(error);
      } catch (const std::bad_alloc&) {
        call->error = std::make_unique<Error>("KEMARI_LINK_MEMORY", "no memory for a checkpoint");
      }
      call->settler.NonBlockingCall(call);
    });
    return promise;
  }

  Napi::Value attach(const Napi::CallbackInfo& info) {
    return run(info, [](Capture& capture) -> Answer {
      capture.attach();
      return nothing;
    });
  }

  Napi::Value copy_round(const Napi::CallbackInfo& info) {
    return run(info, [](Capture& capture) -> Answer {
      return [result = capture.copy_round()](Napi::Env env) { return round_object(env, result); };
    });
  }

  Napi::Value count_dirty(const Napi::CallbackInfo& info) {
    return run(info, [](Capture& capture) -> Answer {
      return [pages = capture.count_dirty()](Napi::Env env) -> Napi::Value {
        return Napi::Number::New(env, static_cast<double>(pages));
      };
    });
  }

  Napi::Value capture(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      const uint64_t epoch = epoch_argument(info[0]);
      const ResumePolicy policy = policy_argument(info[1]);
      const bool guest_paused = info[2].ToBoolean().Value();
      return run(info, [epoch, policy, guest_paused, called_ns = monotonic_ns()](Capture& capture) -> Answer {
        return [result = capture.capture(epoch, policy, guest_paused, called_ns)](Napi::Env env) {
          return capture_object(env, result);
        };
      });
    });
  }

  Napi::Value resume(const Napi::CallbackInfo& info) {
    return run(info, [](Capture& capture) -> Answer {
      return [result = capture.resume()](Napi::Env env) { return resumed_object(env, result); };
    });
  }

  Napi::Value detach(const Napi::CallbackInfo& info) {
    if (thread_) thread_->abort();
    return run(info, detached);
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    if (thread_) {
      thread_->abort();
      const Napi::Promise ended = post(info.Env(), detached, thread_);
      closed_ = Napi::Persistent(ended.As<Napi::Object>());
      thread_.reset();
      Unref();
    }
    return closed_.Value();
  }

  static Answer detached(Capture& capture) {
    capture.detach();
    return nothing;
  }

  std::shared_ptr<CaptureThread> thread_;  // none: closed
  Settler settler_;
  Napi::ObjectReference closed_;
};

}  // namespace

void define_capture(Napi::Env env, Napi::Object exports) {
  CaptureObject::define(env, exports);
}

}  // namespace kemari
