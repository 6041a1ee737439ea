// What every vhost-user device is to JavaScript. A class for a device derives from RingDeviceObject<itself>, constructs
// its RingDevice in its constructor, hands it to adopt(), and defines itself with define(), adding its own methods.
#pragma once

#include <napi.h>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "napi_error.h"
#include "napi_event.h"
#include "napi_gate.h"
#include "napi_options.h"
#include "ring/ring_device.h"
#include "ring/xen/ring_offer.h"

namespace kemari {

// The device while it is open, and how it is closed off the JavaScript thread. Shared by the object and its close job.
class DeviceHandle {
 public:
  DeviceHandle(std::shared_ptr<RingDevice> device, std::shared_ptr<EventChannel> events);
  ~DeviceHandle();  // stops the device

  RingDevice& device() noexcept { return *device_; }
  const std::shared_ptr<RingDevice>& shared_device() const noexcept { return device_; }
  // A promise for the end of the device's thread; the same work once however often it is called.
  static Napi::Promise close(Napi::Env env, std::shared_ptr<DeviceHandle> handle);
  Napi::Array pending(Napi::Env env);

 private:
  friend class DeviceCloser;
  std::shared_ptr<RingDevice> device_;
  std::shared_ptr<EventChannel> events_;
};

// The options that all devices share: name, socketFd (which belongs to the device from here on, also when construction
// fails later) or xen, gate, onEvent.
struct CommonOptions {
  RingDevice::Options device;
  std::shared_ptr<xen::RingOffer> ring_offer;  // with xen
  std::shared_ptr<EventChannel> events;
};
CommonOptions common_options(Napi::Env env, const Napi::Object& options);

// {rings: [{refs, port}], offloads}. Throws KEMARI_ARGUMENT.
xen::RingPlaces ring_places(const Napi::Object& options);

// The bytes of a Buffer or Uint8Array argument, which stay JavaScript's. Throws KEMARI_ARGUMENT.
std::span<const uint8_t> bytes_argument(const Napi::Value& value);

// The device behind a Disk or Nic of JavaScript, shared. Throws KEMARI_ARGUMENT for anything else, KEMARI_RING_STATE is
// what it answers itself once it was closed.
std::shared_ptr<RingDevice> ring_device_value(const Napi::Value& value);

template <typename Self>
class RingDeviceObject : public Napi::ObjectWrap<Self> {
 public:
  explicit RingDeviceObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Self>(info) {
    info.This().As<Napi::Object>().TypeTag(&Self::kTag);
  }

  // nullptr when `value` is no object of this class.
  static std::shared_ptr<RingDevice> device_of(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&Self::kTag)) return nullptr;
    return Self::Unwrap(value.As<Napi::Object>())->handle_->shared_device();
  }

 protected:
  using Wrap = Napi::ObjectWrap<Self>;

  // Starts the device. The object lives until close() even if JavaScript forgets it.
  void adopt(std::shared_ptr<RingDevice> device, CommonOptions& common) {
    ring_offer_ = std::move(common.ring_offer);
    handle_ = std::make_shared<DeviceHandle>(std::move(device), std::move(common.events));
    handle_->device().start();
    this->Ref();
  }

  // Exports the class `name` with the methods of every device and `own` ones.
  static void define(Napi::Env env, Napi::Object exports, const char* name,
                     std::vector<Napi::ClassPropertyDescriptor<Self>> own) {
    own.push_back(Wrap::InstanceMethod("close", &Self::close));
    own.push_back(Wrap::InstanceMethod("setSuspendOnStop", &Self::set_suspend_on_stop));
    own.push_back(Wrap::InstanceMethod("freezeHeld", &Self::freeze_held));
    own.push_back(Wrap::InstanceMethod("pending", &Self::pending));
    own.push_back(Wrap::InstanceMethod("submitted", &Self::submitted));
    own.push_back(Wrap::InstanceMethod("cut", &Self::cut));
    own.push_back(Wrap::InstanceMethod("restore", &Self::restore));
    own.push_back(Wrap::InstanceMethod("connectRings", &Self::connect_rings));
    own.push_back(Wrap::InstanceMethod("machineStopped", &Self::machine_stopped));
    own.push_back(Wrap::InstanceMethod("machineContinues", &Self::machine_continues));
    exports.Set(name, Wrap::DefineClass(env, name, own));
  }

 public:
  Napi::Value close(const Napi::CallbackInfo& info) {
    if (std::exchange(referenced_, false)) this->Unref();
    return DeviceHandle::close(info.Env(), handle_);
  }
  Napi::Value set_suspend_on_stop(const Napi::CallbackInfo& info) {
    handle_->device().set_suspend_on_stop(info[0].ToBoolean().Value());
    return info.Env().Undefined();
  }
  Napi::Value freeze_held(const Napi::CallbackInfo& info) {
    handle_->device().freeze_held();
    return info.Env().Undefined();
  }
  Napi::Value pending(const Napi::CallbackInfo& info) { return handle_->pending(info.Env()); }
  Napi::Value submitted(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), handle_->device().submitted());
  }
  Napi::Value cut(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      const std::vector<uint8_t> bytes = handle_->device().cut().joined();
      return Napi::Buffer<uint8_t>::Copy(info.Env(), bytes.data(), bytes.size());
    });
  }
  Napi::Value connect_rings(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      if (ring_offer_ == nullptr) fail("KEMARI_ARGUMENT", "the device is not for a guest of Xen's");
      ring_offer_->tell(ring_places(first_argument(info)));
      return info.Env().Undefined();
    });
  }
  Napi::Value machine_stopped(const Napi::CallbackInfo& info) {
    handle_->device().machine_stopped();
    return info.Env().Undefined();
  }
  Napi::Value machine_continues(const Napi::CallbackInfo& info) {
    handle_->device().machine_continues();
    return info.Env().Undefined();
  }
  Napi::Value restore(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      handle_->device().restore(bytes_argument(info[0]));
      return info.Env().Undefined();
    });
  }

 private:
  std::shared_ptr<DeviceHandle> handle_;
  std::shared_ptr<xen::RingOffer> ring_offer_;  // for a guest of Xen's
  bool referenced_ = true;
};

}  // namespace kemari
