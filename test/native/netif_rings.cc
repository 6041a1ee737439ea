#include "netif_rings.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "granted_pages.h"
#include "napi_error.h"
#include "napi_options.h"
#include "popped_request.h"
#include "ring/xen/netif_receive_queue.h"
#include "ring/xen/netif_transmit_queue.h"

namespace {

using kemari::Chain;
using kemari::Segment;
using kemari::xen::kPageBytes;

// One of the two: new NetifRing({pages, receives, segments}).
class NetifRing : public Napi::ObjectWrap<NetifRing> {
 public:
  explicit NetifRing(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<NetifRing>(info),
        pages_(static_cast<uint32_t>(kemari::integer_option(info[0].As<Napi::Object>(), "pages", 1, 1024))),
        ring_(kPageBytes, "KEMARI_XEN_MEMORY", "a ring") {
    const auto options = info[0].As<Napi::Object>();
    const bool receives = kemari::bool_option(options, "receives");
    size_t entry_bytes = kemari::xen::kNetifTxEntryBytes;
    if (receives) {
      queue_ = std::make_unique<kemari::xen::NetifReceiveQueue>(pages_);
      entry_bytes = kemari::xen::kNetifRxEntryBytes;
    } else {
      queue_ = std::make_unique<kemari::xen::NetifTransmitQueue>(pages_);
    }
    queue_->attach({ring_.data(), ring_.size_bytes()});
    queue_->set_size(kemari::xen::SharedRing::entries_in(kPageBytes, entry_bytes));
    const bool segments = kemari::bool_option(options, "segments");
    queue_->set_accepted(kemari::xen::netif_features({true, segments, segments, segments}));
    info.This().As<Napi::Object>().Set("ring", external_buffer(info.Env(), ring_));
    info.This().As<Napi::Object>().Set("pages", external_buffer(info.Env(), pages_.memory()));
  }

  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("NetifRing",
                DefineClass(env, "NetifRing",
                            {InstanceMethod("start", &NetifRing::start), InstanceMethod("stop", &NetifRing::stop),
                             InstanceMethod("pop", &NetifRing::pop), InstanceMethod("unpop", &NetifRing::unpop),
                             InstanceMethod("land", &NetifRing::land), InstanceMethod("answer", &NetifRing::answer),
                             InstanceMethod("publish", &NetifRing::publish), InstanceMethod("arm", &NetifRing::arm)}));
  }

 private:
  static uint16_t head_of(const Napi::Value& value) {
    return static_cast<uint16_t>(value.As<Napi::Number>().Uint32Value());
  }

  // start(base): begins; start(): goes on where it was stopped.
  Napi::Value start(const Napi::CallbackInfo& info) {
    return kemari::guarded(info.Env(), [&] {
      if (info[0].IsNumber()) queue_->set_base(head_of(info[0]));
      queue_->start();
      return info.Env().Undefined();
    });
  }
  Napi::Value stop(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), queue_->stop()); }

  // 'empty', the queue's fault, or the request: its readable bytes, and how much of it can be written.
  Napi::Value pop(const Napi::CallbackInfo& info) {
    return pop_request(info.Env(), *queue_, [&](Napi::Object& result, Chain&& chain) {
      result.Set("writableBytes", Napi::Number::New(info.Env(), static_cast<double>(chain.writable_bytes())));
      chains_[chain.head] = std::move(chain);
    });
  }
  Napi::Value unpop(const Napi::CallbackInfo& info) {
    queue_->unpop(head_of(info[0]));
    return info.Env().Undefined();
  }
  // land(head, bytes): a receive buffer begins with these, and is answered.
  Napi::Value land(const Napi::CallbackInfo& info) {
    const auto bytes = info[1].As<Napi::Buffer<uint8_t>>();
    const uint16_t head = head_of(info[0]);
    const std::vector<Segment>& writable = chains_.at(head).writable;
    KEMARI_ASSERT(writable.size() == 1 && bytes.Length() <= writable[0].length);
    std::copy_n(bytes.Data(), bytes.Length(), writable[0].hva);
    queue_->landed(head, writable, bytes.Length());
    queue_->push_used(head, static_cast<uint32_t>(bytes.Length()));
    return info.Env().Undefined();
  }
  Napi::Value answer(const Napi::CallbackInfo& info) {
    queue_->push_used(head_of(info[0]), 0);
    return info.Env().Undefined();
  }
  Napi::Value publish(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), queue_->publish()); }
  Napi::Value arm(const Napi::CallbackInfo& info) {
    queue_->set_kicks_wanted(true);
    return Napi::Boolean::New(info.Env(), queue_->arm_kicks());
  }

  GrantedPages pages_;
  kemari::UniqueMapping ring_;
  std::unique_ptr<kemari::xen::NetifQueue> queue_;
  std::map<uint16_t, Chain> chains_;
};

}  // namespace

void define_netif_rings(Napi::Env env, Napi::Object exports) {
  NetifRing::define(env, exports);
}
