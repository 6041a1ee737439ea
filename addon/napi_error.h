// Errors on their way to JavaScript: an Error with `code` (KEMARI_...), and `errno` and `syscall` where a system call
// failed.
#pragma once

#include <napi.h>

#include <utility>

#include "error.h"

namespace kemari {

Napi::Error to_napi_error(Napi::Env env, const Error& error);

// Runs `body`; what it throws as kemari::Error is thrown as a JavaScript error. Every callback from JavaScript that can
// fail is wrapped in it.
template <typename Body>
auto guarded(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const Error& error) {
    throw to_napi_error(env, error);
  }
}

}  // namespace kemari
