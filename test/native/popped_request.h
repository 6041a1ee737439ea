// What the rings of Xen's in tests have in common on their way to JavaScript.
#pragma once

#include <napi.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "ring/request_queue.h"
#include "unique_mapping.h"

// Memory of an object that must live as long as it is used, which tests see to.
inline Napi::Value external_buffer(Napi::Env env, kemari::UniqueMapping& memory) {
  return Napi::Buffer<uint8_t>::New(env, memory.data(), memory.size_bytes());
}

// 'empty', the queue's fault, or {head, readable} of the request; `taken(result, chain)` adds to that and keeps the
// chain.
template <typename Taken>
Napi::Value pop_request(Napi::Env env, kemari::RequestQueue& queue, Taken&& taken) {
  kemari::Chain chain;
  switch (queue.pop(chain)) {
    case kemari::PopResult::kEmpty:
      return Napi::String::New(env, "empty");
    case kemari::PopResult::kBroken:
      return Napi::String::New(env, queue.fault());
    case kemari::PopResult::kChain:
      break;
  }
  auto readable = Napi::Buffer<uint8_t>::New(env, chain.readable_bytes());
  uint8_t* to = readable.Data();
  for (const kemari::Segment& segment : chain.readable) to = std::copy_n(segment.hva, segment.length, to);
  Napi::Object result = Napi::Object::New(env);
  result.Set("head", Napi::Number::New(env, chain.head));
  result.Set("readable", readable);
  taken(result, std::move(chain));
  return result;
}
