#include "ring/disk/napi_disk.h"

#include <liburing.h>

#include <memory>
#include <string>
#include <utility>

#include "error.h"
#include "napi_ring_device.h"
#include "ring/disk/disk_device.h"
#include "ring/disk/disk_file.h"
#include "ring/disk/file_backend.h"
#include "ring/disk/nbd_backend.h"

namespace kemari {
namespace {

enum class Engine : uint8_t { kAuto = 1, kIoUring = 2, kThreads = 3 };

Engine engine_option(const Napi::Object& options) {
  const std::string engine = string_option(options, "engine");
  if (engine == "auto") return Engine::kAuto;
  if (engine == "io_uring") return Engine::kIoUring;
  if (engine == "threads") return Engine::kThreads;
  fail("KEMARI_ARGUMENT", "engine is '" + engine + "'; expected auto, io_uring or threads");
}

// Asks the kernel for a small ring: it may be compiled out, forbidden (sysctl kernel.io_uring_disabled, seccomp) or
// short of locked memory.
bool io_uring_works() {
  io_uring ring{};
  if (::io_uring_queue_init(2, &ring, 0) != 0) return false;
  ::io_uring_queue_exit(&ring);
  return true;
}

bool choose_io_uring(Engine engine) {
  if (engine == Engine::kThreads) return false;
  const bool works = io_uring_works();
  if (engine == Engine::kIoUring && !works) {
    fail("KEMARI_DISK_ENGINE",
         "this kernel refuses io_uring (is kernel.io_uring_disabled set?); use engine auto or threads");
  }
  return works;
}

std::unique_ptr<BlockBackend> open_backend(const Napi::Object& options, bool io_uring) {
  const bool read_only = bool_option(options, "readOnly");
  const bool discard = bool_option(options, "discard");
  const bool direct = bool_option(options, "direct");
  const Napi::Object target = object_option(options, "target");
  if (const auto uri = optional_string_option(target, "nbdUri")) {
    return std::make_unique<NbdBackend>(*uri, read_only, discard);
  }
  DiskFileOptions file;
  file.path = string_option(target, "path");
  file.read_only = read_only;
  file.direct = direct;
  file.discard = discard;
  return std::make_unique<FileBackend>(DiskFile(file), io_uring);
}

class DiskObject final : public RingDeviceObject<DiskObject> {
 public:
  explicit DiskObject(const Napi::CallbackInfo& info) : RingDeviceObject(info) {
    guarded(info.Env(), [&] { open(info.Env(), first_argument(info)); });
  }

  // Tells Disks from other objects that JavaScript may pass.
  static constexpr napi_type_tag kTag{0x6b656d6172690002, 0x6469736b64657669};

  static void define(Napi::Env env, Napi::Object exports) {
    RingDeviceObject::define(env, exports, "Disk", {InstanceMethod("stats", &DiskObject::stats)});
  }

  Napi::Value stats(const Napi::CallbackInfo& info) {
    const auto number = [&](const std::atomic<uint64_t>& counter) {
      return Napi::Number::New(info.Env(), static_cast<double>(counter.load(std::memory_order_relaxed)));
    };
    const DiskCounters& counters = disk_->counters();
    Napi::Object stats = Napi::Object::New(info.Env());
    stats["engine"] = disk_->engine();
    stats["sizeBytes"] = Napi::Number::New(info.Env(), static_cast<double>(disk_->size_bytes()));
    stats["reads"] = number(counters.reads);
    stats["writes"] = number(counters.writes);
    stats["flushes"] = number(counters.flushes);
    stats["discards"] = number(counters.discards);
    stats["readBytes"] = number(counters.read_bytes);
    stats["writtenBytes"] = number(counters.written_bytes);
    stats["errors"] = number(counters.errors);
    stats["inFlight"] = number(counters.in_flight);
    return stats;
  }

 private:
  void open(Napi::Env env, const Napi::Object& options) {
    CommonOptions common = common_options(env, options);
    try {
      DiskDeviceOptions disk;
      disk.queues = static_cast<uint32_t>(integer_option(options, "queues", 1, DiskDevice::kMaxDiskQueues));
      disk.serial = string_option(options, "serial");
      if (disk.serial.size() > VIRTIO_BLK_ID_BYTES) {
        fail("KEMARI_ARGUMENT", "serial '" + disk.serial + "' is longer than 20 bytes");
      }
      const bool io_uring = choose_io_uring(engine_option(options));
      common.device.allow_io_uring = io_uring;
      auto backend = open_backend(options, io_uring);
      disk_ = std::make_shared<DiskDevice>(std::move(common.device), std::move(disk), std::move(backend));
    } catch (...) {
      common.events->close();  // an open channel would keep the process alive
      throw;
    }
    adopt(disk_, std::move(common.events));
  }

  std::shared_ptr<DiskDevice> disk_;
};

}  // namespace

std::shared_ptr<RingDevice> disk_value(const Napi::Value& value) {
  return DiskObject::device_of(value);
}

void define_disk(Napi::Env env, Napi::Object exports) {
  DiskObject::define(env, exports);
}

}  // namespace kemari
