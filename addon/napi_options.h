// Reading option objects. Each throws KEMARI_ARGUMENT, naming the key and what was found, when the value is missing or
// of another type.
#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>

namespace kemari {

Napi::Object object_option(const Napi::Object& options, const char* key);
std::string string_option(const Napi::Object& options, const char* key);
std::optional<std::string> optional_string_option(const Napi::Object& options, const char* key);  // undefined: none
bool bool_option(const Napi::Object& options, const char* key);
// An integer in [low, high].
int64_t integer_option(const Napi::Object& options, const char* key, int64_t low, int64_t high);
Napi::Function function_option(const Napi::Object& options, const char* key);
Napi::Object first_argument(const Napi::CallbackInfo& info);  // the option object itself

}  // namespace kemari
