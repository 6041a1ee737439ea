#include "evidence/napi_evidence.h"

#include "error.h"
#include "evidence/evidence.h"
#include "napi_error.h"
#include "napi_options.h"

namespace kemari {

namespace {

Napi::Value keep(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    if (evidence_kept()) fail("KEMARI_ARGUMENT", "evidence is kept already");
    keep_evidence(string_option(first_argument(info), "path"));
    return info.Env().Undefined();
  });
}

}  // namespace

void define_evidence(Napi::Env env, Napi::Object exports) {
  exports.Set("keepEvidence", Napi::Function::New(env, keep, "keepEvidence"));
}

}  // namespace kemari
