// The two network rings of Xen's whose guest is the test: JavaScript writes the shared pages and owns what is granted.
#pragma once

#include <napi.h>

void define_netif_rings(Napi::Env env, Napi::Object exports);
