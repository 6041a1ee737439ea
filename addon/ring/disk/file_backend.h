// A disk on a file or block device: through io_uring where the device's event loop has one, by worker threads
// otherwise. Discards and zeroing go to workers with both, since they block for long and need fallbacks.
#pragma once

#include <atomic>
#include <deque>
#include <memory>

#include "ring/disk/block_backend.h"
#include "ring/disk/disk_file.h"

namespace kemari {

class FileBackend final : public BlockBackend {
 public:
  // Tries of one step that the kernel interrupts or defers before it counts as failed.
  static constexpr uint32_t kMaxRetries = 16;

  // `io_uring`: use it if the loop has it.
  FileBackend(DiskFile file, bool io_uring);

  const char* engine() const noexcept override { return uses_io_uring_ ? "io_uring" : "threads"; }
  const BlockGeometry& geometry() const noexcept override { return file_.geometry(); }
  void attach(EventLoop& loop, BlockClient& client) override;
  void abandon() override;
  void detach() override;
  void submit(BlockRequest& request) override;
  void resume() override;
  void stepped(BlockRequest& request, int result) override;
  void withdrawn(BlockRequest& request) override;
  void work(BlockRequest& request) override;

 private:
  void take_up(BlockRequest& request);
  void begin(BlockRequest& request);
  void queue_step(BlockRequest& request);
  void give_back_bounce(BlockRequest& request);
  void finish(BlockRequest& request, int error);

  DiskFile file_;
  std::atomic<bool> uses_io_uring_;
  bool registered_ = false;  // the file is number 0 of the ring's registered files
  EventLoop* loop_ = nullptr;
  BlockClient* client_ = nullptr;
  std::unique_ptr<WorkerPool> workers_;
  BouncePool bounces_;
  bool abandoned_ = false;
  // Both bounded by the requests of the disk.
  std::deque<BlockRequest*> waiting_for_bounce_;
  std::deque<BlockRequest*> withheld_;  // outbound, whole or what is left of them; they have no bounce buffer
};

}  // namespace kemari
