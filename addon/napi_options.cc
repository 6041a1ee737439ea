#include "napi_options.h"

#include <cmath>

#include "error.h"

namespace kemari {

[[noreturn]] static void refuse(const char* key, const Napi::Value& found, const std::string& expected) {
  fail("KEMARI_ARGUMENT",
       std::string("option ") + key + " is " + found.ToString().Utf8Value() + ", expected " + expected);
}

Napi::Object first_argument(const Napi::CallbackInfo& info) {
  if (!info[0].IsObject()) fail("KEMARI_ARGUMENT", "an object with options is expected");
  return info[0].As<Napi::Object>();
}

Napi::Object object_option(const Napi::Object& options, const char* key) {
  const Napi::Value value = options.Get(key);
  if (!value.IsObject()) refuse(key, value, "an object");
  return value.As<Napi::Object>();
}

std::string string_option(const Napi::Object& options, const char* key) {
  const Napi::Value value = options.Get(key);
  if (!value.IsString()) refuse(key, value, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::optional<std::string> optional_string_option(const Napi::Object& options, const char* key) {
  if (options.Get(key).IsUndefined()) return std::nullopt;
  return string_option(options, key);
}

bool bool_option(const Napi::Object& options, const char* key) {
  const Napi::Value value = options.Get(key);
  if (!value.IsBoolean()) refuse(key, value, "true or false");
  return value.As<Napi::Boolean>().Value();
}

int64_t integer_option(const Napi::Object& options, const char* key, int64_t low, int64_t high) {
  const Napi::Value value = options.Get(key);
  const std::string expected = "an integer in [" + std::to_string(low) + ", " + std::to_string(high) + "]";
  if (!value.IsNumber()) refuse(key, value, expected);
  const double number = value.As<Napi::Number>().DoubleValue();
  if (std::trunc(number) != number || number < static_cast<double>(low) || number > static_cast<double>(high)) {
    refuse(key, value, expected);
  }
  return static_cast<int64_t>(number);
}

Napi::Function function_option(const Napi::Object& options, const char* key) {
  const Napi::Value value = options.Get(key);
  if (!value.IsFunction()) refuse(key, value, "a function");
  return value.As<Napi::Function>();
}

}  // namespace kemari
