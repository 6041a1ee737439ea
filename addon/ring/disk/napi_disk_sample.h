// sampleDisk(target, count): what a disk holds at some places, for telling whether two hosts reach the same storage.
#pragma once

#include <napi.h>

namespace kemari {

void define_disk_sample(Napi::Env env, Napi::Object exports);

}  // namespace kemari
