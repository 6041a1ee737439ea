// Where a disk's bytes go: a file or block device through io_uring or threads, or an NBD export. The disk device knows
// virtio, a back-end knows its storage, and a BlockRequest is all that passes between them.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ring/disk/bounce_pool.h"
#include "ring/disk/worker_pool.h"
#include "ring/event_loop.h"
#include "ring/ring_state.h"

namespace kemari {

// What the storage is and can. All sizes are bytes; block sizes are powers of two of at least 512.
struct BlockGeometry {
  uint64_t size_bytes = 0;
  uint32_t logical_block_bytes = 512;    // requests that are not multiples of it fail
  uint32_t physical_block_bytes = 4096;  // what is cheap to write
  uint32_t optimal_io_bytes = 0;         // 0: not known
  uint32_t discard_granularity_bytes = 4096;
  bool read_only = false;
  bool can_flush = true;  // false: completed writes are as durable as they get
  bool can_discard = false;
  bool can_write_zeroes = false;
};

enum class BlockOperation : uint8_t { kRead = 1, kWrite = 2, kFlush = 3, kDiscard = 4, kWriteZeroes = 5 };

class BlockBackend;

// One request to the storage. The owner keeps it alive and its memory in place until it was handed back.
struct BlockRequest : EventLoop::Completion, WorkerPool::Job {
  // Anything but a read: it goes only while the lease holds.
  bool is_outbound() const noexcept override { return operation != BlockOperation::kRead; }
  bool is_transfer() const noexcept {
    return operation == BlockOperation::kRead || operation == BlockOperation::kWrite;
  }
  bool changes_storage() const noexcept { return is_outbound() && operation != BlockOperation::kFlush; }

  BlockOperation operation = BlockOperation::kRead;
  bool unmap = false;          // kWriteZeroes: the range may be deallocated
  bool write_through = false;  // durable before it is done, without a later flush
  uint64_t offset = 0;         // bytes, a multiple of kSectorBytes
  uint64_t length = 0;         // bytes; for reads and writes the sum of `data`
  std::vector<iovec> data;     // the back-end consumes it

  // --- the back-end's own while it has the request ---
  BlockBackend* backend = nullptr;
  uint64_t done = 0;               // bytes finished
  uint64_t piece = 0;              // bytes of the step under way
  BounceBuffer* bounce = nullptr;  // set while the bytes go through a buffer of ours
  uint32_t retries = 0;            // of the step under way
  uint64_t covers = 0;             // a flush: the changes that were answered before it came
  int error = 0;                   // errno of a step that ended elsewhere
  bool is_withheld = false;        // that step, or its rest, was not taken: the lease is over
  bool is_unanswered = false;      // the step is with a server

  void completed(int result) override;  // io_uring
  void withdrawn() override;            // io_uring
  void run() override;                  // on a worker
  void done_running() override;
};

// Who gets requests back. Called on the ring thread with the device's lock held, also from within submit().
class BlockClient {
 public:
  // `error` is 0 or an errno. `request` is the client's again.
  virtual void finished(BlockRequest& request, int error) = 0;
  // Whether an outbound request may go now: to be asked right before each system call that lets something of it out.
  // Where not, the back-end keeps the request until resume(). Any thread, without the lock, too.
  virtual bool may_leave() const noexcept = 0;
  // Something about the storage as a whole that people should know (a lost or regained server).
  virtual void storage_event(const std::string& text) = 0;
  // A request that changes what the storage holds ends without an answer: it may land at any later time.
  virtual void left_unanswered() = 0;

 protected:
  ~BlockClient() = default;
};

// All calls on the ring thread with the device's lock held, except the constructor, engine() and geometry().
class BlockBackend {
 public:
  virtual ~BlockBackend() = default;
  virtual const char* engine() const noexcept = 0;  // as in DiskStats
  virtual const BlockGeometry& geometry() const noexcept = 0;

  virtual void attach(EventLoop& loop, BlockClient& client) = 0;
  virtual void abandon() {}   // the device ends: what waits for something that may never come fails now
  virtual void detach() = 0;  // nothing is in flight any more

  // Takes a request over; it comes back through BlockClient::finished(). System calls are left to the loop's next turn
  // where that is possible, so that requests of one turn go out together.
  virtual void submit(BlockRequest& request) = 0;

  // What a crash of the storage would lose, where this host can lose sight of one; and from where a back-end goes on
  // with it, before its first request.
  virtual UnflushedChanges unflushed() const { return {}; }
  virtual void go_on_from(UnflushedChanges) {}

  // The lease may hold again: what was kept because it did not goes on, in its order.
  virtual void resume() = 0;

  // The step that was under way for `request` ended; `result` is bytes or -errno.
  virtual void stepped(BlockRequest& request, int result) = 0;

  // The step was taken back before the kernel had it: the lease is over.
  virtual void withdrawn(BlockRequest& request) = 0;

  // A step on a worker thread, without the device's lock; sets `request.error` or `request.is_withheld`.
  virtual void work(BlockRequest& request) = 0;
};

inline void BlockRequest::completed(int result) {
  backend->stepped(*this, result);
}
inline void BlockRequest::withdrawn() {
  backend->withdrawn(*this);
}
inline void BlockRequest::run() {
  backend->work(*this);
}
inline void BlockRequest::done_running() {
  backend->stepped(*this, -error);
}

}  // namespace kemari
