#include "ring/disk/napi_disk.h"

#include <liburing.h>

#include <bit>
#include <memory>
#include <mutex>
#include <optional>
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

// A standby's connection to an NBD server, made ahead of the takeover: it locks nothing and asks for nothing. Made on
// one thread, taken on another, and dropped where it came too late.
class AheadConnection {
 public:
  void connect(const std::string& uri, bool read_only, bool discard) {
    std::unique_ptr<NbdBackend> backend;
    try {
      backend = std::make_unique<NbdBackend>(uri, read_only, discard);
    } catch (const Error&) {
      return;  // a server that takes one client, for example; the takeover tries again, and tells
    }
    // Two connections at a time, and this one may show what was there when it was made: the takeover makes its own.
    if (!backend->is_shareable()) return;
    const std::lock_guard lock(mutex_);
    if (!taken_) backend_ = std::move(backend);
  }

  // Empty where there is none that still answers. `ended`: there was one, and its server has gone.
  std::unique_ptr<NbdBackend> take(bool& ended) {
    std::unique_ptr<NbdBackend> backend;
    {
      const std::lock_guard lock(mutex_);
      taken_ = true;
      backend = std::move(backend_);
    }
    if (backend == nullptr) return nullptr;
    const NbdConnection::Answer answer = backend->probe();
    ended = answer == NbdConnection::Answer::kEnded;
    return answer == NbdConnection::Answer::kInTime ? std::move(backend) : nullptr;
  }

 private:
  std::mutex mutex_;
  bool taken_ = false;
  std::unique_ptr<NbdBackend> backend_;
};

// Where a disk's bytes are, and how they are reached.
struct Storage {
  std::optional<std::string> nbd_uri;
  DiskFileOptions file;  // without an URI
  bool io_uring;
  std::shared_ptr<AheadConnection> ahead = std::make_shared<AheadConnection>();

  const char* engine() const noexcept { return nbd_uri ? "nbd" : io_uring ? "io_uring" : "threads"; }

  // Blocks: a server may take its time.
  std::unique_ptr<BlockBackend> open(bool steal) const {
    if (nbd_uri) {
      bool ended = false;
      std::unique_ptr<NbdBackend> connected = ahead->take(ended);
      if (connected != nullptr) return connected;
      return std::make_unique<NbdBackend>(*nbd_uri, file.read_only, file.discard, ended);
    }
    DiskFileOptions options = file;
    options.steal = steal;
    return std::make_unique<FileBackend>(DiskFile(options), io_uring);
  }
};

Storage storage_options(const Napi::Object& options, bool io_uring) {
  const Napi::Object target = object_option(options, "target");
  Storage storage;
  storage.nbd_uri = optional_string_option(target, "nbdUri");
  if (!storage.nbd_uri) storage.file.path = string_option(target, "path");
  storage.file.read_only = bool_option(options, "readOnly");
  storage.file.direct = bool_option(options, "direct");
  storage.file.discard = bool_option(options, "discard");
  storage.io_uring = io_uring;
  return storage;
}

constexpr int64_t kMaxSafeInteger = (1ll << 53) - 1;

uint32_t block_option(const Napi::Object& options, const char* key, int64_t low) {
  constexpr int64_t kMaxBlockBytes = 1 << 30;
  return static_cast<uint32_t>(integer_option(options, key, low, kMaxBlockBytes));
}

// A geometry that another host tells: what the guest is shown must make sense.
BlockGeometry geometry_options(const Napi::Object& options) {
  BlockGeometry geometry;
  geometry.size_bytes = static_cast<uint64_t>(integer_option(options, "sizeBytes", kSectorBytes, kMaxSafeInteger));
  geometry.logical_block_bytes = block_option(options, "logicalBlockBytes", kSectorBytes);
  geometry.physical_block_bytes = block_option(options, "physicalBlockBytes", kSectorBytes);
  geometry.optimal_io_bytes = block_option(options, "optimalIoBytes", 0);
  geometry.discard_granularity_bytes = block_option(options, "discardGranularityBytes", kSectorBytes);
  geometry.read_only = bool_option(options, "readOnly");
  geometry.can_flush = bool_option(options, "canFlush");
  geometry.can_discard = bool_option(options, "canDiscard");
  geometry.can_write_zeroes = bool_option(options, "canWriteZeroes");
  if (!std::has_single_bit(geometry.logical_block_bytes) || !std::has_single_bit(geometry.physical_block_bytes) ||
      geometry.size_bytes % kSectorBytes != 0) {
    fail("KEMARI_ARGUMENT", "a disk's geometry has block sizes or a size that no disk has");
  }
  return geometry;
}

Napi::Object to_object(Napi::Env env, const BlockGeometry& geometry) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("sizeBytes", Napi::Number::New(env, static_cast<double>(geometry.size_bytes)));
  object.Set("logicalBlockBytes", geometry.logical_block_bytes);
  object.Set("physicalBlockBytes", geometry.physical_block_bytes);
  object.Set("optimalIoBytes", geometry.optimal_io_bytes);
  object.Set("discardGranularityBytes", geometry.discard_granularity_bytes);
  object.Set("readOnly", geometry.read_only);
  object.Set("canFlush", geometry.can_flush);
  object.Set("canDiscard", geometry.can_discard);
  object.Set("canWriteZeroes", geometry.can_write_zeroes);
  return object;
}

// Connects a standby's disk ahead of its takeover.
class DiskConnector : public Napi::AsyncWorker {
 public:
  DiskConnector(Napi::Env env, std::shared_ptr<const Storage> storage)
      : Napi::AsyncWorker(env), storage_(std::move(storage)) {}

 protected:
  void Execute() override {
    storage_->ahead->connect(*storage_->nbd_uri, storage_->file.read_only, storage_->file.discard);
  }

 private:
  const std::shared_ptr<const Storage> storage_;
};

// Opens the storage of a deferred disk where JavaScript does not have to wait.
class DiskOpener : public Napi::AsyncWorker {
 public:
  DiskOpener(Napi::Env env, std::shared_ptr<DiskDevice> disk, std::shared_ptr<const Storage> storage, bool steal)
      : Napi::AsyncWorker(env),
        promise_(Napi::Promise::Deferred::New(env)),
        disk_(std::move(disk)),
        storage_(std::move(storage)),
        steal_(steal) {}

  Napi::Promise promise() const { return promise_.Promise(); }

 protected:
  void Execute() override {
    try {
      disk_->open(storage_->open(steal_));
    } catch (const Error& error) {
      error_ = error;
    }
  }
  void OnOK() override {
    if (error_) return promise_.Reject(to_napi_error(Env(), *error_).Value());
    promise_.Resolve(Env().Undefined());
  }
  void OnError(const Napi::Error& error) override { promise_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred promise_;
  std::shared_ptr<DiskDevice> disk_;
  const std::shared_ptr<const Storage> storage_;
  const bool steal_;
  std::optional<Error> error_;
};

class DiskObject final : public RingDeviceObject<DiskObject> {
 public:
  explicit DiskObject(const Napi::CallbackInfo& info) : RingDeviceObject(info) {
    guarded(info.Env(), [&] { open(info.Env(), first_argument(info)); });
  }

  // Tells Disks from other objects that JavaScript may pass.
  static constexpr napi_type_tag kTag{0x6b656d6172690002, 0x6469736b64657669};

  static void define(Napi::Env env, Napi::Object exports) {
    RingDeviceObject::define(
        env, exports, "Disk",
        {InstanceMethod("stats", &DiskObject::stats), InstanceMethod("open", &DiskObject::open_deferred),
         InstanceAccessor("geometry", &DiskObject::geometry, nullptr)});
  }

  Napi::Value geometry(const Napi::CallbackInfo& info) { return to_object(info.Env(), disk_->geometry()); }

  // open({steal}): once, of a deferred disk.
  Napi::Value open_deferred(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      const bool steal = bool_option(first_argument(info), "steal");
      if (deferred_ == nullptr) fail("KEMARI_ARGUMENT", "the disk is open, or was told to open, already");
      auto* opener = new DiskOpener(info.Env(), disk_, std::exchange(deferred_, {}), steal);  // deletes itself
      const Napi::Promise promise = opener->promise();
      opener->Queue();
      return promise;
    });
  }

  Napi::Value stats(const Napi::CallbackInfo& info) {
    const auto number = [&](const std::atomic<uint64_t>& counter) {
      return Napi::Number::New(info.Env(), static_cast<double>(counter.load(std::memory_order_relaxed)));
    };
    const DiskCounters& counters = disk_->counters();
    Napi::Object stats = Napi::Object::New(info.Env());
    stats["engine"] = disk_->engine();
    stats["sizeBytes"] = Napi::Number::New(info.Env(), static_cast<double>(disk_->geometry().size_bytes));
    stats["reads"] = number(counters.reads);
    stats["writes"] = number(counters.writes);
    stats["flushes"] = number(counters.flushes);
    stats["discards"] = number(counters.discards);
    stats["readBytes"] = number(counters.read_bytes);
    stats["writtenBytes"] = number(counters.written_bytes);
    stats["errors"] = number(counters.errors);
    stats["unansweredWrites"] = number(counters.unanswered_writes);
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
      Storage storage = storage_options(options, io_uring);
      if (options.Get("deferred").IsUndefined()) {
        disk_ = std::make_shared<DiskDevice>(std::move(common.device), std::move(disk), storage.open(false));
      } else {
        disk_ = std::make_shared<DiskDevice>(std::move(common.device), std::move(disk),
                                             geometry_options(object_option(options, "deferred")), storage.engine());
        deferred_ = std::make_shared<const Storage>(std::move(storage));
        if (deferred_->nbd_uri) (new DiskConnector(env, deferred_))->Queue();  // deletes itself
      }
    } catch (...) {
      common.events->close();  // an open channel would keep the process alive
      throw;
    }
    adopt(disk_, common);
  }

  std::shared_ptr<DiskDevice> disk_;
  std::shared_ptr<const Storage> deferred_;  // until it is told to open
};

}  // namespace

std::shared_ptr<RingDevice> disk_value(const Napi::Value& value) {
  return DiskObject::device_of(value);
}

void define_disk(Napi::Env env, Napi::Object exports) {
  DiskObject::define(env, exports);
}

}  // namespace kemari
