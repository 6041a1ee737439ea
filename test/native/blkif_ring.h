// A block ring of Xen's whose guest is the test: JavaScript writes the shared page and owns what is granted.
#pragma once

#include <napi.h>

void define_blkif_ring(Napi::Env env, Napi::Object exports);
