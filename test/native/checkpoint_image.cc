#include "checkpoint_image.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "link/checkpoint.h"
#include "link/napi_sink.h"
#include "napi_error.h"
#include "xen/foreign_pages.h"

namespace {

using kemari::Checkpoint;
using kemari::kPageBytes;

struct Unmap {
  size_t size;
  void operator()(uint8_t* data) const { munmap(data, size); }
};
using Mapping = std::unique_ptr<uint8_t, Unmap>;

Mapping map_anew(size_t size, int fd, int flags) {
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
  if (data == MAP_FAILED) kemari::fail_errno("KEMARI_RAM_MAP", "mmap", "cannot map an image");
  return {static_cast<uint8_t*>(data), Unmap{size}};
}

// Takes checkpoints as a standby does: what came last is what counts.
class ImageSink : public kemari::CheckpointSink {
 public:
  explicit ImageSink(size_t size)
      : size_(size), image_(map_anew(size, -1, MAP_PRIVATE | MAP_ANONYMOUS)), has_(size / kPageBytes) {}

  std::unique_ptr<Checkpoint> take() override {
    const std::lock_guard lock(mutex_);
    if (spare_) return std::move(spare_);
    return std::make_unique<Checkpoint>(size_ / kPageBytes);
  }

  void submit(std::unique_ptr<Checkpoint> checkpoint) override {
    if (!lost.load()) {
      const std::lock_guard lock(mutex_);
      const uint8_t* from = checkpoint->pages.data();
      uint64_t end = 0;
      for (const kemari::PageRange& range : checkpoint->ranges) {
        ordered_ = ordered_ && range.first >= end && range.count > 0;
        end = range.first + range.count;
        std::memcpy(image_.get() + range.first * kPageBytes, from, range.count * kPageBytes);
        from += range.count * kPageBytes;
        std::fill_n(has_.begin() + static_cast<ptrdiff_t>(range.first), range.count, true);
      }
      pages_ += checkpoint->pages.page_count();
      if (checkpoint->epoch != 0) {
        epoch_ = checkpoint->epoch;
        ranges_ = checkpoint->ranges;
        state_ = checkpoint->machine_state;
        devices_ = checkpoint->devices;
      }
    }
    recycle(std::move(checkpoint));
  }

  void recycle(std::unique_ptr<Checkpoint> checkpoint) override {
    const std::lock_guard lock(mutex_);
    checkpoint->clear();
    spare_ = std::move(checkpoint);
  }

  bool wait_for_room() override { return !lost.load(); }
  uint64_t queued_bytes() const override { return full.load() ? UINT64_MAX : 0; }

  std::mutex& mutex() { return mutex_; }
  bool has(size_t page) const { return has_[page]; }
  const uint8_t* image() const { return image_.get(); }
  size_t size() const { return size_; }
  uint64_t epoch() const { return epoch_; }
  uint64_t pages() const { return pages_; }
  bool ordered() const { return ordered_; }
  const std::vector<kemari::PageRange>& ranges() const { return ranges_; }
  const std::vector<uint8_t>& state() const { return state_; }
  const std::vector<kemari::TracedBytes>& devices() const { return devices_; }

  std::atomic<bool> full{false};
  std::atomic<bool> lost{false};

 private:
  size_t size_;
  Mapping image_;
  std::vector<bool> has_;
  std::mutex mutex_;
  std::unique_ptr<Checkpoint> spare_;
  uint64_t epoch_ = 0;
  uint64_t pages_ = 0;
  bool ordered_ = true;
  std::vector<kemari::PageRange> ranges_;
  std::vector<uint8_t> state_;
  std::vector<kemari::TracedBytes> devices_;
};

class CheckpointImage : public Napi::ObjectWrap<CheckpointImage> {
 public:
  explicit CheckpointImage(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<CheckpointImage>(info),
        sink_(std::make_shared<ImageSink>(static_cast<size_t>(info[0].As<Napi::Number>().Int64Value()))) {
    kemari::expose_sink(info.This().As<Napi::Object>(), sink_);
  }

  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("CheckpointImage", DefineClass(env, "CheckpointImage",
                                               {InstanceMethod("differingPages", &CheckpointImage::differing_pages),
                                                InstanceMethod("compareXen", &CheckpointImage::compare_xen),
                                                InstanceMethod("received", &CheckpointImage::received),
                                                InstanceMethod("setFull", &CheckpointImage::set_full),
                                                InstanceMethod("setLost", &CheckpointImage::set_lost)}));
  }

 private:
  // differingPages(ramFd, atMost): number[]
  Napi::Value differing_pages(const Napi::CallbackInfo& info) {
    const int fd = info[0].As<Napi::Number>().Int32Value();
    const Mapping ram = map_anew(sink_->size(), fd, MAP_SHARED);
    const uint32_t most = info[1].As<Napi::Number>().Uint32Value();
    const std::lock_guard lock(sink_->mutex());
    Napi::Array pages = Napi::Array::New(info.Env());
    const std::vector<uint8_t> zeroes(kPageBytes);
    size_t data = 0;
    size_t hole = 0;
    for (size_t at = 0; at < sink_->size() && pages.Length() < most; at += kPageBytes) {
      // A hole that is read would become memory.
      if (at >= hole) {
        const off_t next = lseek(fd, static_cast<off_t>(at), SEEK_DATA);
        data = next < 0 ? sink_->size() : static_cast<size_t>(next);
        hole = next < 0 ? sink_->size() : static_cast<size_t>(lseek(fd, next, SEEK_HOLE));
      }
      if (at < data && !sink_->has(at / kPageBytes)) continue;
      const uint8_t* expected = at < data ? zeroes.data() : ram.get() + at;
      if (std::memcmp(expected, sink_->image() + at, kPageBytes) == 0) continue;
      pages.Set(pages.Length(), static_cast<double>(at / kPageBytes));
    }
    return pages;
  }

  // compareXen(domid, atMost): {pages, differing: number[]}
  Napi::Value compare_xen(const Napi::CallbackInfo& info) {
    return kemari::guarded(info.Env(), [&]() -> Napi::Value {
      const uint64_t frames = sink_->size() / kPageBytes;
      // Mapped here, not by the capture: what that overlooks is to be found.
      const auto domid = static_cast<uint16_t>(info[0].As<Napi::Number>().Uint32Value());
      if (!xen_memory_) {
        kemari::xen::Domain domain(domid);
        xen_memory_ = std::make_unique<kemari::xen::ForeignPages>(domid, std::min(frames, domain.max_frame() + 1),
                                                                  kemari::xen::ForeignPages::Access::kRead);
        xen_memory_->map_all(domain);
      }
      const uint32_t most = info[1].As<Napi::Number>().Uint32Value();
      const std::lock_guard lock(sink_->mutex());
      Napi::Array differing = Napi::Array::New(info.Env());
      size_t pages = 0;
      for (size_t frame = 0; frame < xen_memory_->frames(); frame++) {
        // Xen's own pages in it are not mapped until somebody asks.
        const bool is_known = xen_memory_->is_mapped(frame) || sink_->has(frame);
        const uint8_t* const page = is_known ? xen_memory_->at(frame) : nullptr;
        if (page == nullptr) continue;
        pages++;
        const bool same = std::memcmp(page, sink_->image() + frame * kPageBytes, kPageBytes) == 0;
        if (!same && differing.Length() < most) differing.Set(differing.Length(), static_cast<double>(frame));
      }
      Napi::Object object = Napi::Object::New(info.Env());
      object.Set("pages", static_cast<double>(pages));
      object.Set("differing", differing);
      return object;
    });
  }

  Napi::Value received(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::lock_guard lock(sink_->mutex());
    Napi::Object object = Napi::Object::New(env);
    object.Set("epoch", Napi::BigInt::New(env, sink_->epoch()));
    object.Set("pages", static_cast<double>(sink_->pages()));
    object.Set("ordered", sink_->ordered());
    Napi::Array ranges = Napi::Array::New(env);
    for (const kemari::PageRange& range : sink_->ranges()) {
      Napi::Object pages = Napi::Object::New(env);
      pages.Set("first", static_cast<double>(range.first));
      pages.Set("count", static_cast<double>(range.count));
      ranges.Set(ranges.Length(), pages);
    }
    object.Set("ranges", ranges);
    object.Set("machineState", Napi::Buffer<uint8_t>::Copy(env, sink_->state().data(), sink_->state().size()));
    Napi::Array devices = Napi::Array::New(env);
    for (const kemari::TracedBytes& device : sink_->devices()) {
      const std::vector<uint8_t> bytes = device.joined();
      devices.Set(devices.Length(), Napi::Buffer<uint8_t>::Copy(env, bytes.data(), bytes.size()));
    }
    object.Set("devices", devices);
    return object;
  }

  Napi::Value set_full(const Napi::CallbackInfo& info) {
    sink_->full.store(info[0].ToBoolean().Value());
    return info.Env().Undefined();
  }

  Napi::Value set_lost(const Napi::CallbackInfo& info) {
    sink_->lost.store(info[0].ToBoolean().Value());
    return info.Env().Undefined();
  }

  std::shared_ptr<ImageSink> sink_;
  std::unique_ptr<kemari::xen::ForeignPages> xen_memory_;  // of the first domain that was asked for
};

}  // namespace

void define_checkpoint_image(Napi::Env env, Napi::Object exports) {
  CheckpointImage::define(env, exports);
}
