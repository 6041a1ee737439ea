#include "ring/inflight_area.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <string>
#include <utility>

#include "error.h"
#include "ring/request_queue.h"

namespace kemari {

namespace {

// As the specification names them: DescStateSplit and QueueRegionSplit.
struct DescriptorState {
  uint8_t inflight;
  uint8_t padding[5];
  uint16_t next;     // of the same batch
  uint64_t counter;  // order of popping
};
static_assert(sizeof(DescriptorState) == 16);

struct QueueRegion {
  uint64_t features;
  uint16_t version;
  uint16_t desc_num;
  uint16_t last_batch_head;
  uint16_t used_idx;
  DescriptorState desc[];
};
static_assert(sizeof(QueueRegion) == 16);

constexpr uint16_t kVersion = 1;  // 0: not initialized
constexpr uint64_t kRegionAlignment = 64;

constexpr uint64_t region_bytes(uint16_t queue_size) {
  const uint64_t bytes = sizeof(QueueRegion) + uint64_t{queue_size} * sizeof(DescriptorState);
  return (bytes + kRegionAlignment - 1) / kRegionAlignment * kRegionAlignment;
}

// SAFETY: InflightArea checked that the region lies in the mapping, aligned, with queue_size entries.
QueueRegion& at(uint8_t* region) {
  return *reinterpret_cast<QueueRegion*>(region);
}

// Keeps the compiler from moving the steps; the process may die between any two of them.
void step() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

void check_shape(uint16_t queue_count, uint16_t queue_size) {
  if (queue_count == 0 || queue_size == 0 || queue_size > RequestQueue::kMaxSize || !std::has_single_bit(queue_size)) {
    fail("KEMARI_VHOST_USER_INFLIGHT", "an inflight area for " + std::to_string(queue_count) + " queues of size " +
                                           std::to_string(queue_size) + " is asked for");
  }
}

}  // namespace

InflightQueue::Recovered InflightQueue::recover(uint16_t used_index) noexcept {
  QueueRegion& region = at(region_);
  batch_.clear();
  if (region.version != kVersion || region.desc_num != queue_size_) {
    reset(used_index);
    return {};
  }
  // The last batch was published but not yet cleared: its entries are done. The list's length is what the used index
  // moved, and no more than the queue has.
  const uint16_t moved = static_cast<uint16_t>(used_index - region.used_idx);
  uint16_t head = region.last_batch_head;
  for (uint16_t i = 0; i < moved && i < queue_size_ && head < queue_size_; i++) {
    region.desc[head].inflight = 0;
    head = region.desc[head].next;
  }
  step();
  region.used_idx = used_index;
  std::vector<std::pair<uint64_t, uint16_t>> found;
  for (uint16_t i = 0; i < queue_size_; i++) {
    if (region.desc[i].inflight != 0) found.emplace_back(region.desc[i].counter, i);
  }
  std::sort(found.begin(), found.end());
  Recovered recovered{{}, moved != 0 || !found.empty()};
  for (const auto& [counter, index] : found) {
    recovered.heads.push_back(index);
    counter_ = counter + 1;
  }
  return recovered;
}

void InflightQueue::reset(uint16_t used_index) noexcept {
  QueueRegion& region = at(region_);
  for (uint16_t i = 0; i < queue_size_; i++) region.desc[i] = {};
  region.features = 0;
  region.desc_num = queue_size_;
  region.last_batch_head = 0;
  region.used_idx = used_index;
  step();
  region.version = kVersion;
  batch_.clear();
  counter_ = 0;
}

void InflightQueue::popped(uint16_t head) noexcept {
  DescriptorState& state = at(region_).desc[head];
  state.counter = counter_++;
  step();
  state.inflight = 1;
}

void InflightQueue::forgotten(uint16_t head) noexcept {
  at(region_).desc[head].inflight = 0;
}

void InflightQueue::pushed(uint16_t head) noexcept {
  QueueRegion& region = at(region_);
  // Linked through our own copy of the last head: the one in the area may have been spoiled.
  region.desc[head].next = batch_.empty() ? head : batch_.back();
  step();
  region.last_batch_head = head;
  batch_.push_back(head);
}

void InflightQueue::published(uint16_t used_index) noexcept {
  QueueRegion& region = at(region_);
  step();
  for (const uint16_t head : batch_) region.desc[head].inflight = 0;
  batch_.clear();
  step();
  region.used_idx = used_index;
}

InflightArea::InflightArea(std::shared_ptr<RamFile> file, uint64_t size_bytes, uint64_t offset, uint16_t queue_count,
                           uint16_t queue_size)
    : file_(std::move(file)),
      size_bytes_(size_bytes),
      offset_(offset),
      queue_count_(queue_count),
      queue_size_(queue_size) {}

std::shared_ptr<InflightArea> InflightArea::create(uint16_t queue_count, uint16_t queue_size) {
  check_shape(queue_count, queue_size);
  const uint64_t size = queue_count * region_bytes(RequestQueue::kMaxSize);
  UniqueFd fd(memfd_create("kemari-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) fail_errno("KEMARI_VHOST_USER_INFLIGHT", "memfd_create", "cannot create an inflight area");
  if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    fail_errno("KEMARI_VHOST_USER_INFLIGHT", "ftruncate", "cannot create an inflight area");
  }
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    fail_errno("KEMARI_VHOST_USER_INFLIGHT", "fcntl", "cannot seal an inflight area");
  }
  std::shared_ptr<RamFile> file = RamFile::map(fd.get());
  std::shared_ptr<InflightArea> area(new InflightArea(std::move(file), size, 0, queue_count, RequestQueue::kMaxSize));
  area->fd_ = std::move(fd);
  return area;
}

std::shared_ptr<InflightArea> InflightArea::adopt(int fd, uint64_t size_bytes, uint64_t offset, uint16_t queue_count,
                                                  uint16_t queue_size) {
  check_shape(queue_count, queue_size);
  std::shared_ptr<RamFile> file = RamFile::map(fd);
  const uint64_t needed = queue_count * region_bytes(queue_size);
  if (size_bytes < needed || offset % kRegionAlignment != 0 || offset > file->size_bytes() ||
      size_bytes > file->size_bytes() - offset) {
    fail("KEMARI_VHOST_USER_INFLIGHT", "the inflight area has " + std::to_string(size_bytes) + " bytes at offset " +
                                           std::to_string(offset) + ", expected " + std::to_string(needed) +
                                           " inside its file");
  }
  // One of ours comes back with the size that the front-end first spoke of.
  const bool ours = size_bytes == queue_count * region_bytes(RequestQueue::kMaxSize);
  const uint16_t room = ours ? RequestQueue::kMaxSize : queue_size;
  return std::shared_ptr<InflightArea>(new InflightArea(std::move(file), size_bytes, offset, queue_count, room));
}

InflightQueue InflightArea::queue(uint32_t index) {
  if (index >= queue_count_) return {};
  return {shared_from_this(), file_->data() + offset_ + index * region_bytes(queue_size_), queue_size_};
}

}  // namespace kemari
