#include "stage/napi_delay_line.h"

#include <memory>

#include "napi_error.h"
#include "napi_options.h"
#include "stage/delay_line.h"

namespace kemari {

namespace {

constexpr int64_t kLongestUs = 1'000'000;
constexpr int64_t kNsPerUs = 1000;

DelayLine::End end_option(const Napi::Object& options, const char* key) {
  const Napi::Object end = object_option(options, key);
  return {string_option(end, "namespacePath"), string_option(end, "device")};
}

class DelayLineObject : public Napi::ObjectWrap<DelayLineObject> {
 public:
  explicit DelayLineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<DelayLineObject>(info) {
    guarded(info.Env(), [&] {
      const Napi::Object options = first_argument(info);
      line_ = std::make_unique<DelayLine>(end_option(options, "near"), end_option(options, "far"),
                                          integer_option(options, "delayUs", 1, kLongestUs) * kNsPerUs);
    });
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "DelayLine", {InstanceMethod("close", &DelayLineObject::close)});
  }

 private:
  Napi::Value close(const Napi::CallbackInfo& info) {
    line_.reset();
    return info.Env().Undefined();
  }

  std::unique_ptr<DelayLine> line_;
};

}  // namespace

void define_delay_line(Napi::Env env, Napi::Object exports) {
  exports.Set("DelayLine", DelayLineObject::define(env));
}

}  // namespace kemari
