#include "ring/net/napi_nic.h"

#include <memory>
#include <utility>

#include "napi_ring_device.h"
#include "ring/net/nic.h"

namespace kemari {

namespace {

class NicObject : public RingDeviceObject<NicObject> {
 public:
  explicit NicObject(const Napi::CallbackInfo& info) : RingDeviceObject<NicObject>(info) {
    const Napi::Env env = info.Env();
    guarded(env, [&] {
      const Napi::Object options = first_argument(info);
      CommonOptions common = common_options(env, options);
      try {
        if (common.ring_offer != nullptr && options.Get("queues").ToNumber().Int64Value() != 1) {
          fail("KEMARI_ARGUMENT", "a NIC of a guest of Xen's has one pair of queues");
        }
        nic_ = std::make_shared<Nic>(std::move(common.device), tap_options(options));
      } catch (...) {
        common.events->close();
        throw;
      }
      adopt(nic_, common);
    });
  }

  // Tells Nics from other objects that JavaScript may pass.
  static constexpr napi_type_tag kTag{0x6b656d6172690003, 0x6e69636e69636e69};

  static void define(Napi::Env env, Napi::Object exports) {
    RingDeviceObject::define(
        env, exports, "Nic",
        {InstanceMethod("stats", &NicObject::stats), InstanceMethod("open", &NicObject::open),
         InstanceMethod("send", &NicObject::send), InstanceMethod("addresses", &NicObject::addresses)});
  }

 private:
  static Tap::Options tap_options(const Napi::Object& options) {
    return {
        .name = string_option(options, "tap"),
        .bridge = optional_string_option(options, "bridge").value_or(""),
        .queues = static_cast<uint32_t>(integer_option(options, "queues", 1, Tap::kMaxQueues)),
        .guest_mac = parse_mac(string_option(options, "mac")),
        .up = !options.Get("deferred").ToBoolean().Value(),
    };
  }

  Napi::Value open(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      nic_->open();
      return info.Env().Undefined();
    });
  }

  Napi::Value send(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      if (!info[0].IsBuffer()) fail("KEMARI_ARGUMENT", "send needs a Buffer");
      const auto frame = info[0].As<Napi::Buffer<uint8_t>>();
      nic_->send({frame.Data(), frame.Length()});
      return info.Env().Undefined();
    });
  }

  // As Buffers of 4 octets, in the order of the wire.
  Napi::Value addresses(const Napi::CallbackInfo& info) {
    const std::vector<uint32_t> known = nic_->addresses();
    Napi::Array array = Napi::Array::New(info.Env(), known.size());
    for (uint32_t i = 0; i < known.size(); i++) {
      // SAFETY: an integer's own bytes.
      const auto* octets = reinterpret_cast<const uint8_t*>(&known[i]);
      array.Set(i, Napi::Buffer<uint8_t>::Copy(info.Env(), octets, sizeof known[i]));
    }
    return array;
  }

  Napi::Value stats(const Napi::CallbackInfo& info) {
    const NicStats& stats = nic_->stats();
    const auto number = [&](const std::atomic<uint64_t>& counter) {
      return Napi::Number::New(info.Env(), static_cast<double>(counter.load(std::memory_order_relaxed)));
    };
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("txFrames", number(stats.tx_frames));
    result.Set("txBytes", number(stats.tx_bytes));
    result.Set("rxFrames", number(stats.rx_frames));
    result.Set("rxBytes", number(stats.rx_bytes));
    result.Set("dropped", number(stats.dropped));
    return result;
  }

  std::shared_ptr<Nic> nic_;
};

}  // namespace

std::shared_ptr<RingDevice> nic_value(const Napi::Value& value) {
  return NicObject::device_of(value);
}

void define_nic(Napi::Env env, Napi::Object exports) {
  NicObject::define(env, exports);
}

}  // namespace kemari
