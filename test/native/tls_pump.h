// The fastest simple TLS 1.3 connection that this machine's OpenSSL gives: what the link's rate is held against.
#pragma once

#include <napi.h>

void define_tls_pump(Napi::Env env, Napi::Object exports);
