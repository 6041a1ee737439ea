#include "xen/napi_domain.h"

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "capture/page_ranges.h"
#include "memory/dirty_bitmap.h"
#include "napi_error.h"
#include "napi_options.h"
#include "napi_promise.h"
#include "xen/domain.h"
#include "xen/machine_state.h"
#include "xen/restore.h"

namespace kemari {

namespace {

// A call may be under way on a worker thread when the next one comes.
struct SharedDomain {
  explicit SharedDomain(uint16_t domid) : domain(domid) {}

  std::mutex calling;
  xen::Domain domain;
};

struct Shape {
  uint64_t frame_count;
  PageRanges frames;
  std::vector<xen::HvmParam> parameters;
  std::vector<uint8_t> hvm_context;
  xen::PolicyBytes policy;
  xen::TscInfo tsc;
};

Shape shape_of(xen::Domain& domain) {
  Shape shape{.frame_count = domain.max_frame() + 1,
              .frames = {},
              .parameters = read_parameters(domain),
              .hvm_context = {},
              .policy = domain.cpu_policy(),
              .tsc = domain.tsc_info()};
  for (const uint64_t frame : domain.memory_frames(shape.frame_count)) append_pages(shape.frames, frame, 1);
  domain.hvm_context(shape.hvm_context);
  return shape;
}

Napi::Buffer<uint8_t> to_buffer(Napi::Env env, const std::vector<uint8_t>& bytes) {
  return Napi::Buffer<uint8_t>::Copy(env, bytes.data(), bytes.size());
}

Napi::Value to_object(Napi::Env env, const Shape& shape) {
  const auto number = [env](uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); };
  Napi::Array frames = Napi::Array::New(env, shape.frames.size());
  for (uint32_t i = 0; i < shape.frames.size(); i++) {
    Napi::Array range = Napi::Array::New(env, 2);
    range.Set(0u, number(shape.frames[i].first));
    range.Set(1u, number(shape.frames[i].count));
    frames.Set(i, range);
  }
  Napi::Array parameters = Napi::Array::New(env, shape.parameters.size());
  for (uint32_t i = 0; i < shape.parameters.size(); i++) {
    Napi::Object parameter = Napi::Object::New(env);
    parameter.Set("index", number(shape.parameters[i].index));
    parameter.Set("value", Napi::BigInt::New(env, shape.parameters[i].value));
    parameters.Set(i, parameter);
  }
  Napi::Object tsc = Napi::Object::New(env);
  tsc.Set("mode", number(shape.tsc.mode));
  tsc.Set("khz", number(shape.tsc.khz));
  tsc.Set("elapsedNs", Napi::BigInt::New(env, shape.tsc.elapsed_ns));
  tsc.Set("incarnation", number(shape.tsc.incarnation));
  Napi::Object object = Napi::Object::New(env);
  object.Set("frameCount", number(shape.frame_count));
  object.Set("frames", frames);
  object.Set("parameters", parameters);
  object.Set("hvmContext", to_buffer(env, shape.hvm_context));
  object.Set("cpuidPolicy", to_buffer(env, shape.policy.cpuid));
  object.Set("msrPolicy", to_buffer(env, shape.policy.msrs));
  object.Set("tsc", tsc);
  return object;
}

// What takes its time is a promise. What a takeover waits for is not: the thread pool may be busy.
class XenDomainObject : public Napi::ObjectWrap<XenDomainObject> {
 public:
  explicit XenDomainObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<XenDomainObject>(info) {
    guarded(info.Env(), [&] {
      const auto domid = static_cast<uint16_t>(integer_option(first_argument(info), "domid", 1, xen::kMaxDomid));
      shared_ = std::make_shared<SharedDomain>(domid);
    });
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "XenDomain",
        {InstanceMethod("info", &XenDomainObject::info), InstanceMethod("shape", &XenDomainObject::shape),
         InstanceMethod("restore", &XenDomainObject::restore), InstanceMethod("pause", &XenDomainObject::pause),
         InstanceMethod("unpause", &XenDomainObject::unpause)});
  }

 private:
  template <typename Body>
  auto use(Napi::Env env, Body&& body) {
    return guarded(env, [&] {
      const std::lock_guard lock(shared_->calling);
      return body(shared_->domain);
    });
  }

  Napi::Value info(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    return use(env, [env](xen::Domain& domain) {
      const xen::DomainInfo state = domain.info();
      Napi::Object object = Napi::Object::New(env);
      object.Set("paused", (state.flags & xen::kDomainPaused) != 0);
      object.Set("shutDown", (state.flags & xen::kDomainShutdown) != 0);
      object.Set("dying", (state.flags & xen::kDomainDying) != 0);
      object.Set("paravirtualized", (state.flags & xen::kDomainHvm) == 0);
      object.Set("vcpus", Napi::Number::New(env, state.online_vcpus));
      object.Set("memoryBytes", Napi::Number::New(env, static_cast<double>(state.total_pages * kPageBytes)));
      object.Set("frameCount", Napi::Number::New(env, static_cast<double>(domain.max_frame() + 1)));
      object.Set("cpuSeconds", static_cast<double>(state.cpu_time_ns) / 1e9);
      object.Set("hasPvContext", domain.has_pv_context());
      return object;
    });
  }

  Napi::Value shape(const Napi::CallbackInfo& info) {
    const auto shape = std::make_shared<Shape>();
    return PromiseJob::run(
        info.Env(),
        [shape, shared = shared_] {
          const std::lock_guard lock(shared->calling);
          *shape = shape_of(shared->domain);
        },
        [shape](Napi::Env env) { return to_object(env, *shape); });
  }

  void restore(const Napi::CallbackInfo& info) {
    use(info.Env(), [&](xen::Domain& domain) {
      if (!info[0].IsBuffer()) fail("KEMARI_ARGUMENT", "restore needs a machine state, a Buffer");
      const auto state = info[0].As<Napi::Buffer<uint8_t>>();
      // Aligned as an allocation is.
      const std::vector<uint8_t> bytes(state.Data(), state.Data() + state.Length());
      xen::restore(domain, bytes);
    });
  }

  void pause(const Napi::CallbackInfo& info) {
    use(info.Env(), [](xen::Domain& domain) { domain.pause(); });
  }

  void unpause(const Napi::CallbackInfo& info) {
    use(info.Env(), [](xen::Domain& domain) { domain.unpause(); });
  }

  std::shared_ptr<SharedDomain> shared_;
};

}  // namespace

void define_xen_domain(Napi::Env env, Napi::Object exports) {
  exports.Set("XenDomain", XenDomainObject::define(env));
}

}  // namespace kemari
