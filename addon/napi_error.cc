#include "napi_error.h"

namespace kemari {

Napi::Error to_napi_error(Napi::Env env, const Error& error) {
  Napi::Error converted = Napi::Error::New(env, error.what());
  converted.Set("code", Napi::String::New(env, error.code()));
  if (error.error_number() != 0) {
    converted.Set("errno", Napi::Number::New(env, error.error_number()));
    converted.Set("syscall", Napi::String::New(env, error.system_call()));
  }
  return converted;
}

}  // namespace kemari
