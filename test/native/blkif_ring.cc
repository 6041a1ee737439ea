#include "blkif_ring.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>

#include "granted_pages.h"
#include "napi_error.h"
#include "napi_options.h"
#include "popped_request.h"
#include "ring/xen/blkif_queue.h"
#include "unique_mapping.h"

namespace {

using kemari::Chain;
using kemari::CutQueue;
using kemari::CutRequest;
using kemari::CutSegment;
using kemari::RequestKind;
using kemari::Segment;
using kemari::xen::BlkifQueue;
using kemari::xen::kPageBytes;

class BlkifRing : public Napi::ObjectWrap<BlkifRing> {
 public:
  // new BlkifRing(pages)
  explicit BlkifRing(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<BlkifRing>(info),
        pages_(info[0].As<Napi::Number>().Uint32Value()),
        ring_(kPageBytes, "KEMARI_XEN_MEMORY", "a ring"),
        queue_(pages_) {
    queue_.attach({ring_.data(), ring_.size_bytes()});
    queue_.set_size(kemari::xen::SharedRing::entries_in(kPageBytes, kemari::xen::kBlkifEntryBytes));
    info.This().As<Napi::Object>().Set("ring", external_buffer(info.Env(), ring_));
    info.This().As<Napi::Object>().Set("pages", external_buffer(info.Env(), pages_.memory()));
  }

  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set(
        "BlkifRing",
        DefineClass(env, "BlkifRing",
                    {InstanceMethod("start", &BlkifRing::start), InstanceMethod("adopt", &BlkifRing::adopt),
                     InstanceMethod("adoptKept", &BlkifRing::adopt_kept), InstanceMethod("stop", &BlkifRing::stop),
                     InstanceMethod("pop", &BlkifRing::pop), InstanceMethod("unpop", &BlkifRing::unpop),
                     InstanceMethod("land", &BlkifRing::land), InstanceMethod("answer", &BlkifRing::answer),
                     InstanceMethod("publish", &BlkifRing::publish), InstanceMethod("arm", &BlkifRing::arm),
                     InstanceMethod("describe", &BlkifRing::describe),
                     InstanceMethod("describeKept", &BlkifRing::describe_kept)}));
  }

 private:
  static Napi::Array sizes(Napi::Env env, const std::vector<Segment>& segments) {
    Napi::Array list = Napi::Array::New(env);
    for (uint32_t i = 0; i < segments.size(); i++) list.Set(i, segments[i].length);
    return list;
  }
  static uint64_t u64(const Napi::Value& value) {
    bool lossless;
    return value.As<Napi::BigInt>().Uint64Value(&lossless);
  }

  // start(base): begins; start(): goes on where it was stopped.
  Napi::Value start(const Napi::CallbackInfo& info) {
    return kemari::guarded(info.Env(), [&] {
      if (info[0].IsNumber()) queue_.set_base(static_cast<uint16_t>(info[0].As<Napi::Number>().Uint32Value()));
      for (const CutRequest& cut : to_adopt_) chains_[cut.head].writable = queue_.adopt(cut);
      for (const CutQueue::Kept& kept : to_adopt_kept_) queue_.adopt_kept(kept);
      to_adopt_.clear();
      to_adopt_kept_.clear();
      queue_.start();
      return info.Env().Undefined();
    });
  }
  // adopt({head, kind, token, writable: [[address, length]]}): with the next start.
  Napi::Value adopt(const Napi::CallbackInfo& info) {
    const auto from = info[0].As<Napi::Object>();
    CutRequest cut;
    cut.head = static_cast<uint16_t>(from.Get("head").As<Napi::Number>().Uint32Value());
    cut.kind = static_cast<RequestKind>(from.Get("kind").As<Napi::Number>().Uint32Value());
    cut.token = u64(from.Get("token"));
    const auto writable = from.Get("writable").As<Napi::Array>();
    for (uint32_t i = 0; i < writable.Length(); i++) {
      const auto segment = writable.Get(i).As<Napi::Array>();
      cut.writable.push_back({u64(segment.Get(0u)), segment.Get(1u).As<Napi::Number>().Uint32Value()});
    }
    to_adopt_.push_back(std::move(cut));
    return info.Env().Undefined();
  }
  // adoptKept({head, operation, written, token})
  Napi::Value adopt_kept(const Napi::CallbackInfo& info) {
    const auto from = info[0].As<Napi::Object>();
    const auto number = [&](const char* key) { return from.Get(key).As<Napi::Number>().Uint32Value(); };
    to_adopt_kept_.push_back({static_cast<uint16_t>(number("head")), static_cast<uint16_t>(number("operation")),
                              number("written"), u64(from.Get("token"))});
    return info.Env().Undefined();
  }
  Napi::Value stop(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), queue_.stop()); }

  // 'empty', the queue's fault, or the request: its readable bytes, and how much of it can be written.
  Napi::Value pop(const Napi::CallbackInfo& info) {
    return pop_request(info.Env(), queue_, [&](Napi::Object& result, Chain&& chain) {
      result.Set("writable", sizes(info.Env(), chain.writable));
      chains_[chain.head] = std::move(chain);
    });
  }
  Napi::Value unpop(const Napi::CallbackInfo& info) {
    queue_.unpop(static_cast<uint16_t>(info[0].As<Napi::Number>().Uint32Value()));
    return info.Env().Undefined();
  }
  // land(head, status, fill): the device has filled what it may write with one octet, and written its status.
  Napi::Value land(const Napi::CallbackInfo& info) {
    const auto head = static_cast<uint16_t>(info[0].As<Napi::Number>().Uint32Value());
    const std::vector<Segment>& writable = chains_.at(head).writable;
    for (const Segment& segment : writable) {
      std::memset(segment.hva, static_cast<int>(info[2].As<Napi::Number>().Uint32Value()), segment.length);
    }
    *writable.back().hva = static_cast<uint8_t>(info[1].As<Napi::Number>().Uint32Value());
    queue_.landed(head, writable, UINT64_MAX);
    return info.Env().Undefined();
  }
  Napi::Value answer(const Napi::CallbackInfo& info) {
    queue_.push_used(static_cast<uint16_t>(info[0].As<Napi::Number>().Uint32Value()), 0);
    return info.Env().Undefined();
  }
  Napi::Value publish(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), queue_.publish()); }
  Napi::Value arm(const Napi::CallbackInfo& info) {
    queue_.set_kicks_wanted(true);
    return Napi::Boolean::New(info.Env(), queue_.arm_kicks());
  }

  Napi::Value describe(const Napi::CallbackInfo& info) {
    const auto head = static_cast<uint16_t>(info[0].As<Napi::Number>().Uint32Value());
    CutRequest cut;
    queue_.describe(head, chains_.at(head).writable, cut);
    Napi::Array writable = Napi::Array::New(info.Env());
    for (uint32_t i = 0; i < cut.writable.size(); i++) {
      Napi::Array segment = Napi::Array::New(info.Env());
      segment.Set(0u, Napi::BigInt::New(info.Env(), cut.writable[i].address));
      segment.Set(1u, cut.writable[i].length);
      writable.Set(i, segment);
    }
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("token", Napi::BigInt::New(info.Env(), cut.token));
    result.Set("writable", writable);
    return result;
  }
  Napi::Value describe_kept(const Napi::CallbackInfo& info) {
    CutQueue::Kept kept;
    kept.head = static_cast<uint16_t>(info[0].As<Napi::Number>().Uint32Value());
    queue_.describe_kept(kept);
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("head", Napi::Number::New(info.Env(), kept.head));
    result.Set("operation", Napi::Number::New(info.Env(), kept.operation));
    result.Set("written", kept.written);
    result.Set("token", Napi::BigInt::New(info.Env(), kept.token));
    return result;
  }

  GrantedPages pages_;
  kemari::UniqueMapping ring_;
  BlkifQueue queue_;
  std::map<uint16_t, Chain> chains_;
  std::vector<CutRequest> to_adopt_;
  std::vector<CutQueue::Kept> to_adopt_kept_;
};

}  // namespace

void define_blkif_ring(Napi::Env env, Napi::Object exports) {
  BlkifRing::define(env, exports);
}
