#include "ring/disk/file_backend.h"

#include <liburing.h>
#include <limits.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "error.h"
#include "ring/disk/file_operation.h"
#include "ring/disk/io_vector.h"

namespace kemari {
namespace {

bool is_transfer(const BlockRequest& request) {
  return request.operation == BlockOperation::kRead || request.operation == BlockOperation::kWrite;
}

bool for_workers(const BlockRequest& request) {
  return request.operation == BlockOperation::kDiscard || request.operation == BlockOperation::kWriteZeroes;
}

}  // namespace

FileBackend::FileBackend(DiskFile file, bool io_uring) : file_(std::move(file)), uses_io_uring_(io_uring) {}

void FileBackend::attach(EventLoop& loop, BlockClient& client) {
  loop_ = &loop;
  client_ = &client;
  workers_ = std::make_unique<WorkerPool>(loop);
  if (loop.uring() == nullptr) uses_io_uring_ = false;
  if (!uses_io_uring_) return;
  loop.guard([&client] { return client.may_leave(); });
  const int fd = file_.fd();
  registered_ = ::io_uring_register_files(loop.uring(), &fd, 1) == 0;  // only faster
}

void FileBackend::abandon() {
  abandoned_ = true;
  for (BlockRequest* request : std::exchange(waiting_for_bounce_, {})) client_->finished(*request, ECANCELED);
  for (BlockRequest* request : std::exchange(withheld_, {})) client_->finished(*request, ECANCELED);
}

void FileBackend::detach() {
  KEMARI_ASSERT(waiting_for_bounce_.empty() && withheld_.empty());
  loop_->guard({});
  if (registered_) (void)::io_uring_unregister_files(loop_->uring());
  registered_ = false;
  workers_.reset();
}

void FileBackend::submit(BlockRequest& request) {
  request.backend = this;
  request.done = 0;
  request.retries = 0;
  request.error = 0;
  request.bounce = nullptr;
  request.is_withheld = false;
  if (request.is_outbound() && !withheld_.empty()) {
    withheld_.push_back(&request);
    return;
  }
  take_up(request);
}

void FileBackend::take_up(BlockRequest& request) {
  if (is_transfer(request) && !file_.fits(request.data)) {
    request.bounce = bounces_.take();
    if (request.bounce == nullptr) {
      if (!bounces_.any_taken()) return finish(request, ENOMEM);
      waiting_for_bounce_.push_back(&request);
      return;
    }
  }
  begin(request);
}

void FileBackend::begin(BlockRequest& request) {
  if (uses_io_uring_ && !for_workers(request)) {
    queue_step(request);
    return;
  }
  try {
    workers_->submit(request);
  } catch (const std::system_error& error) {
    finish(request, error.code().value());
  }
}

void FileBackend::queue_step(BlockRequest& request) {
  io_uring_sqe* entry = loop_->submission();
  const int fd = registered_ ? 0 : file_.fd();
  const bool write = request.operation == BlockOperation::kWrite;
  const uint64_t offset = request.offset + request.done;
  if (request.operation == BlockOperation::kFlush) {
    ::io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
  } else if (request.bounce != nullptr || request.data.size() == 1) {
    void* data = request.data[0].iov_base;
    auto bytes = static_cast<unsigned>(request.data[0].iov_len);
    if (request.bounce != nullptr) {
      data = request.bounce->data;
      bytes = static_cast<unsigned>(std::min<uint64_t>(request.length - request.done, kBounceBufferBytes));
      if (write) io_gather(request.data, request.bounce->data, bytes);
    }
    write ? ::io_uring_prep_write(entry, fd, data, bytes, offset)
          : ::io_uring_prep_read(entry, fd, data, bytes, offset);
  } else {
    const auto count = static_cast<unsigned>(std::min<size_t>(request.data.size(), IOV_MAX));
    write ? ::io_uring_prep_writev(entry, fd, request.data.data(), count, offset)
          : ::io_uring_prep_readv(entry, fd, request.data.data(), count, offset);
  }
  if (write && request.write_through) entry->rw_flags = RWF_DSYNC;
  if (registered_) entry->flags |= IOSQE_FIXED_FILE;
  ::io_uring_sqe_set_data(entry, static_cast<EventLoop::Completion*>(&request));
}

void FileBackend::withdrawn(BlockRequest& request) {
  // Its buffer may be what a read waits for.
  give_back_bounce(request);
  if (abandoned_) return finish(request, ECANCELED);
  withheld_.push_back(&request);
}

void FileBackend::resume() {
  if (withheld_.empty() || !client_->may_leave()) return;
  for (BlockRequest* request : std::exchange(withheld_, {})) take_up(*request);
}

void FileBackend::stepped(BlockRequest& request, int result) {
  if (std::exchange(request.is_withheld, false)) {
    withdrawn(request);
    return resume();  // the renewal may have come before this did
  }
  if (!uses_io_uring_ || for_workers(request)) return finish(request, -result);
  if ((result == -EINTR || result == -EAGAIN) && ++request.retries <= kMaxRetries) return queue_step(request);
  if (result < 0 || request.operation == BlockOperation::kFlush) return finish(request, -result);
  if (result == 0) return finish(request, ENODATA);  // the file ends inside the disk: it was cut short

  const auto count = static_cast<uint64_t>(result);
  request.done += count;
  if (request.bounce != nullptr && request.operation == BlockOperation::kRead) {
    io_scatter(request.data, request.bounce->data, count);
  }
  if (request.done == request.length) return finish(request, 0);
  io_consume(request.data, count);
  request.retries = 0;
  queue_step(request);
}

void FileBackend::work(BlockRequest& request) {
  request.error = run_file_operation(file_, request, *client_);
}

void FileBackend::give_back_bounce(BlockRequest& request) {
  BounceBuffer* bounce = std::exchange(request.bounce, nullptr);
  if (bounce == nullptr) return;
  if (waiting_for_bounce_.empty()) return bounces_.give_back(bounce);
  BlockRequest* next = waiting_for_bounce_.front();
  waiting_for_bounce_.pop_front();
  next->bounce = bounce;
  begin(*next);
}

void FileBackend::finish(BlockRequest& request, int error) {
  give_back_bounce(request);
  client_->finished(request, error);
}

}  // namespace kemari
