// The record of requests in flight that outlives this process (vhost-user: Inflight I/O tracking, split virtqueue). The
// front-end keeps its descriptor and hands it to the next back-end, which submits again what was popped and not
// completed, in the order in which it was popped.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "memory/guest_memory.h"
#include "unique_fd.h"

namespace kemari {

class InflightArea;

// One queue's part of the area. What stands in it is another process's to spoil: it is read only by recover().
class InflightQueue {
 public:
  InflightQueue() = default;
  InflightQueue(std::shared_ptr<InflightArea> area, uint8_t* region, uint16_t queue_size)
      : area_(std::move(area)), region_(region), queue_size_(queue_size) {}

  bool valid() const noexcept { return region_ != nullptr; }
  uint16_t queue_size() const noexcept { return queue_size_; }
  bool same_place(const InflightQueue& other) const noexcept { return region_ == other.region_; }

  // What a former back-end left. `heads`: in flight, oldest first. `interrupted`: it ended in the middle of something.
  struct Recovered {
    std::vector<uint16_t> heads;
    bool interrupted = false;
  };

  // Makes the region consistent with a used index. A fresh region is initialized and has nothing.
  Recovered recover(uint16_t used_index) noexcept;
  // Starts anew: nothing in flight.
  void reset(uint16_t used_index) noexcept;

  void popped(uint16_t head) noexcept;
  // The request is gone without a used entry: put back, or taken away by the guest.
  void forgotten(uint16_t head) noexcept;
  // A used entry was written; published() follows once the guest can see it.
  void pushed(uint16_t head) noexcept;
  void published(uint16_t used_index) noexcept;

 private:
  std::shared_ptr<InflightArea> area_;
  uint8_t* region_ = nullptr;
  uint16_t queue_size_ = 0;
  uint64_t counter_ = 0;         // of the next popped request
  std::vector<uint16_t> batch_;  // pushed, not yet published
};

class InflightArea : public std::enable_shared_from_this<InflightArea> {
 public:
  // A new area in a memfd, with room for queues of any size: a guest may choose a larger one than QEMU was told
  // (virtio-mmio, and virtio-pci of QEMU 10.0.13, offer VIRTQUEUE_MAX_SIZE). Throws KEMARI_VHOST_USER_INFLIGHT for a
  // count of 0, a size that no queue has, or when the kernel refuses.
  static std::shared_ptr<InflightArea> create(uint16_t queue_count, uint16_t queue_size);
  // An area that the front-end kept. Throws KEMARI_VHOST_USER_INFLIGHT when it does not hold that many queues, or
  // KEMARI_RAM_MAP when it cannot be mapped.
  static std::shared_ptr<InflightArea> adopt(int fd, uint64_t size_bytes, uint64_t offset, uint16_t queue_count,
                                             uint16_t queue_size);

  // Invalid where the area has no such queue.
  InflightQueue queue(uint32_t index);

  int fd() const noexcept { return fd_.get(); }  // of a created area, to hand to the front-end
  uint64_t size_bytes() const noexcept { return size_bytes_; }

 private:
  InflightArea(std::shared_ptr<RamFile> file, uint64_t size_bytes, uint64_t offset, uint16_t queue_count,
               uint16_t queue_size);

  std::shared_ptr<RamFile> file_;
  UniqueFd fd_;
  uint64_t size_bytes_;
  uint64_t offset_;
  uint16_t queue_count_;
  uint16_t queue_size_;
};

}  // namespace kemari
