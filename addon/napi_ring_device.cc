#include "napi_ring_device.h"

#include "error.h"
#include "ring/disk/napi_disk.h"
#include "ring/net/napi_nic.h"
#include "ring/xen/split_driver.h"
#include "xen/abi.h"

namespace kemari {

std::span<const uint8_t> bytes_argument(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    fail("KEMARI_ARGUMENT", "a Buffer is expected");
  }
  const auto bytes = value.As<Napi::Uint8Array>();
  return {bytes.Data(), bytes.ByteLength()};
}

std::shared_ptr<RingDevice> ring_device_value(const Napi::Value& value) {
  std::shared_ptr<RingDevice> device = disk_value(value);
  if (device == nullptr) device = nic_value(value);
  if (device == nullptr) fail("KEMARI_ARGUMENT", "a Disk or a Nic is expected");
  return device;
}

DeviceHandle::DeviceHandle(std::shared_ptr<RingDevice> device, std::shared_ptr<EventChannel> events)
    : device_(std::move(device)), events_(std::move(events)) {}

DeviceHandle::~DeviceHandle() {
  device_->stop();
}

// Ends the device's thread on a worker thread: what is in flight may take its time.
class DeviceCloser : public Napi::AsyncWorker {
 public:
  DeviceCloser(Napi::Env env, std::shared_ptr<DeviceHandle> handle)
      : Napi::AsyncWorker(env), promise_(Napi::Promise::Deferred::New(env)), handle_(std::move(handle)) {}

  Napi::Promise promise() const { return promise_.Promise(); }

 protected:
  void Execute() override { handle_->device_->stop(); }
  void OnOK() override {
    handle_->events_->close();
    promise_.Resolve(Env().Undefined());
  }
  void OnError(const Napi::Error& error) override { promise_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred promise_;
  std::shared_ptr<DeviceHandle> handle_;
};

Napi::Promise DeviceHandle::close(Napi::Env env, std::shared_ptr<DeviceHandle> handle) {
  auto* closer = new DeviceCloser(env, std::move(handle));  // deletes itself
  closer->Queue();
  return closer->promise();
}

Napi::Array DeviceHandle::pending(Napi::Env env) {
  const std::vector<PendingRequest> requests = device_->pending();
  Napi::Array array = Napi::Array::New(env, requests.size());
  for (uint32_t i = 0; i < requests.size(); i++) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("queue", requests[i].queue);
    entry.Set("head", static_cast<uint32_t>(requests[i].head));
    entry.Set("held", requests[i].held);
    array.Set(i, entry);
  }
  return array;
}

CommonOptions common_options(Napi::Env env, const Napi::Object& options) {
  CommonOptions common;
  common.device.name = string_option(options, "name");
  common.device.gate = gate_option(options, "gate");
  const Napi::Function listener = function_option(options, "onEvent");
  if (options.Get("xen").IsUndefined()) {
    common.device.socket.reset(static_cast<int>(integer_option(options, "socketFd", 0, INT32_MAX)));
  } else {
    common.ring_offer = std::make_shared<xen::RingOffer>();
    const auto domid = static_cast<uint16_t>(integer_option(object_option(options, "xen"), "domid", 0, xen::kMaxDomid));
    common.device.front_end = [domid, offer = common.ring_offer](RingDevice& device) {
      return std::make_unique<xen::SplitDriver>(device, domid, offer);
    };
  }
  common.events = std::make_shared<EventChannel>(env, listener);
  common.device.on_event = EventChannel::sink(common.events);
  return common;
}

namespace {

Napi::Array list_option(const Napi::Object& options, const char* key) {
  const Napi::Value list = options.Get(key);
  if (!list.IsArray() || list.As<Napi::Array>().Length() == 0)
    fail("KEMARI_ARGUMENT", std::string(key) + " is no list");
  return list.As<Napi::Array>();
}

xen::RingPlace ring_place(const Napi::Value& ring) {
  if (!ring.IsObject()) fail("KEMARI_ARGUMENT", "a ring is no object");
  const auto options = ring.As<Napi::Object>();
  xen::RingPlace place{{}, static_cast<uint32_t>(integer_option(options, "port", 1, UINT32_MAX))};
  const Napi::Array refs = list_option(options, "refs");
  for (uint32_t i = 0; i < refs.Length(); i++) {
    const Napi::Value ref = refs.Get(i);
    if (!ref.IsNumber()) fail("KEMARI_ARGUMENT", "refs is no list of grant references");
    place.refs.push_back(ref.As<Napi::Number>().Uint32Value());
  }
  return place;
}

}  // namespace

xen::RingPlaces ring_places(const Napi::Object& options) {
  xen::RingPlaces places;
  const Napi::Array rings = list_option(options, "rings");
  for (uint32_t i = 0; i < rings.Length(); i++) places.rings.push_back(ring_place(rings.Get(i)));
  if (options.Get("offloads").IsUndefined()) return places;
  const Napi::Object offloads = object_option(options, "offloads");
  places.offloads = {bool_option(offloads, "scatter"), bool_option(offloads, "checksum"), bool_option(offloads, "tcp4"),
                     bool_option(offloads, "tcp6")};
  return places;
}

}  // namespace kemari
