#include "ring/disk/napi_disk_sample.h"

#include <fcntl.h>
#include <libnbd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

// After libc's, whose names <linux/fs.h> takes.
#include <linux/fs.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "error.h"
#include "napi_error.h"
#include "napi_options.h"
#include "ring/disk/nbd_connection.h"
#include "unique_fd.h"

namespace kemari {
namespace {

constexpr size_t kBlockBytes = 4096;
constexpr int64_t kMaxBlocks = 256;
constexpr std::chrono::milliseconds kTimeout{5000};  // for connecting, and again for all reads

struct Sample {
  uint64_t size_bytes = 0;
  std::vector<uint8_t> bytes;  // of whole blocks, one after another
};

// Aligned, as O_DIRECT wants it.
struct FreeMemory {
  void operator()(void* memory) const noexcept { std::free(memory); }
};
using Block = std::unique_ptr<uint8_t, FreeMemory>;

Block make_block() {
  Block block(static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, kBlockBytes)));
  if (!block) throw std::bad_alloc();
  return block;
}

// Where block `index` of `count` lies: spread evenly from the first to the last whole block.
uint64_t place(uint64_t size_bytes, size_t index, size_t count) {
  const uint64_t last = size_bytes / kBlockBytes - 1;
  return (count == 1 ? 0 : last * index / (count - 1)) * kBlockBytes;
}

class BlockReader {
 public:
  virtual ~BlockReader() = default;
  virtual uint64_t size_bytes() = 0;
  virtual void read(uint64_t offset, uint8_t* block) = 0;
};

class PathReader final : public BlockReader {
 public:
  explicit PathReader(const std::string& path)
      : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT | O_NONBLOCK)) {
    if (!fd_.valid()) fail_errno("KEMARI_DISK_OPEN", "open", "cannot read " + path);
  }
  uint64_t size_bytes() override {
    struct stat status;
    if (::fstat(fd_.get(), &status) != 0) fail_errno("KEMARI_DISK_OPEN", "fstat", "cannot measure " + path_);
    if (!S_ISBLK(status.st_mode)) return static_cast<uint64_t>(status.st_size);
    uint64_t bytes = 0;
    if (::ioctl(fd_.get(), BLKGETSIZE64, &bytes) != 0) {
      fail_errno("KEMARI_DISK_OPEN", "ioctl", "cannot measure " + path_);
    }
    return bytes;
  }
  void read(uint64_t offset, uint8_t* block) override {
    const ssize_t got = ::pread(fd_.get(), block, kBlockBytes, static_cast<off_t>(offset));
    if (got < 0) fail_errno("KEMARI_DISK_OPEN", "pread", "cannot read " + path_);
    std::memset(block + got, 0, kBlockBytes - static_cast<size_t>(got));
  }

 private:
  std::string path_;
  UniqueFd fd_;
};

class NbdReader final : public BlockReader {
 public:
  explicit NbdReader(const std::string& uri)
      : uri_(uri),
        connection_(uri, kTimeout, [] { return false; }),
        deadline_(std::chrono::steady_clock::now() + kTimeout) {}
  ~NbdReader() override {
    // So that the server is not left with a broken connection; what it says to it is of no interest.
    if (::nbd_aio_is_ready(connection_.handle()) == 1) ::nbd_aio_disconnect(connection_.handle(), 0);
  }
  uint64_t size_bytes() override { return connection_.geometry().size_bytes; }
  void read(uint64_t offset, uint8_t* block) override {
    nbd_handle* const handle = connection_.handle();
    const int64_t cookie = ::nbd_aio_pread(handle, block, kBlockBytes, offset, NBD_NULL_COMPLETION, 0);
    if (cookie < 0) refuse();
    for (int done = 0; done == 0;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
      if (left.count() <= 0) fail("KEMARI_NBD_CONNECT", "NBD disk " + uri_ + ": the server does not answer reads");
      if (::nbd_poll(handle, static_cast<int>(left.count())) < 0) refuse();
      done = ::nbd_aio_command_completed(handle, static_cast<uint64_t>(cookie));
      if (done < 0) refuse();
    }
  }

 private:
  [[noreturn]] void refuse() {
    const char* const found = ::nbd_get_error();
    throw Error("KEMARI_NBD_CONNECT",
                "NBD disk " + uri_ + ": cannot read: " + (found != nullptr ? found : "unknown error"),
                ::nbd_get_errno(), "libnbd");
  }
  std::string uri_;
  NbdConnection connection_;
  std::chrono::steady_clock::time_point deadline_;
};

Sample take_sample(BlockReader& reader, size_t count) {
  Sample sample;
  sample.size_bytes = reader.size_bytes();
  if (sample.size_bytes < kBlockBytes) return sample;
  const Block block = make_block();
  for (size_t index = 0; index < count; index++) {
    reader.read(place(sample.size_bytes, index, count), block.get());
    sample.bytes.insert(sample.bytes.end(), block.get(), block.get() + kBlockBytes);
  }
  return sample;
}

class SampleJob final : public Napi::AsyncWorker {
 public:
  SampleJob(Napi::Env env, std::optional<std::string> path, std::optional<std::string> uri, size_t count)
      : Napi::AsyncWorker(env, "kemari disk sample"),
        deferred_(env),
        path_(std::move(path)),
        uri_(std::move(uri)),
        count_(count) {}
  Napi::Promise promise() { return deferred_.Promise(); }

 protected:
  void Execute() override {
    try {
      if (path_) {
        PathReader reader(*path_);
        sample_ = take_sample(reader, count_);
      } else {
        NbdReader reader(*uri_);
        sample_ = take_sample(reader, count_);
      }
    } catch (const Error& error) {
      error_ = error;
    }
  }
  void OnOK() override {
    const Napi::Env env = Env();
    if (error_) {
      deferred_.Reject(to_napi_error(env, *error_).Value());
      return;
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("sizeBytes", Napi::Number::New(env, static_cast<double>(sample_.size_bytes)));
    result.Set("bytes", Napi::Buffer<uint8_t>::Copy(env, sample_.bytes.data(), sample_.bytes.size()));
    deferred_.Resolve(result);
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::optional<std::string> path_;
  std::optional<std::string> uri_;
  size_t count_;
  Sample sample_;
  std::optional<Error> error_;
};

Napi::Value sample_disk(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Napi::Object options = first_argument(info);
    const Napi::Object target = object_option(options, "target");
    auto uri = optional_string_option(target, "nbdUri");
    std::optional<std::string> path;
    if (!uri) path = string_option(target, "path");
    const auto count = static_cast<size_t>(integer_option(options, "blocks", 1, kMaxBlocks));
    // Deletes itself when it is done.
    auto* const job = new SampleJob(info.Env(), std::move(path), std::move(uri), count);
    const Napi::Promise promise = job->promise();
    job->Queue();
    return promise;
  });
}

}  // namespace

void define_disk_sample(Napi::Env env, Napi::Object exports) {
  exports.Set("sampleDisk", Napi::Function::New(env, sample_disk, "sampleDisk"));
}

}  // namespace kemari
