// What an NBD disk asks of libnbd for a request.
#include <libnbd.h>

#include <algorithm>

#include "ring/disk/io_vector.h"
#include "ring/disk/nbd_backend.h"

namespace kemari {

// The bytes of one command.
void NbdBackend::prepare(BlockRequest& request) {
  request.error = 0;
  request.piece = request.length - request.done;
  if (!request.is_transfer()) return;
  const uint64_t most = request.bounce != nullptr ? kBounceBufferBytes : UINT64_MAX;
  request.piece = std::min({request.piece, connection_->max_request_bytes(), most});
  if (request.bounce != nullptr && request.operation == BlockOperation::kWrite) {
    io_gather(request.data, request.bounce->data, request.piece);
  }
}

int64_t NbdBackend::call(BlockRequest& request) {
  nbd_handle* handle = connection_->handle();
  nbd_completion_callback callback{};
  callback.callback = [](void* user_data, int* error) {
    auto* request = static_cast<BlockRequest*>(user_data);
    request->error = *error;
    static_cast<NbdBackend*>(request->backend)->stepped_.push_back(request);
    return 1;  // libnbd forgets the command
  };
  callback.user_data = &request;
  const uint32_t fua = must_be_durable(request) && connection_->can_fua() ? LIBNBD_CMD_FLAG_FUA : 0;
  const uint64_t offset = request.offset + request.done;
  uint8_t* data = request.bounce != nullptr ? request.bounce->data
                  : request.data.empty()    ? nullptr
                                            : static_cast<uint8_t*>(request.data[0].iov_base);
  switch (request.operation) {
    case BlockOperation::kRead:
      return ::nbd_aio_pread(handle, data, request.piece, offset, callback, 0);
    case BlockOperation::kWrite:
      return ::nbd_aio_pwrite(handle, data, request.piece, offset, callback, fua);
    case BlockOperation::kFlush:
      return ::nbd_aio_flush(handle, callback, 0);
    case BlockOperation::kDiscard:
      return ::nbd_aio_trim(handle, request.piece, offset, callback, fua);
    case BlockOperation::kWriteZeroes:
      return ::nbd_aio_zero(handle, request.piece, offset, callback,
                            fua | (request.unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE));
  }
  return -1;
}

// Whether it may not be answered before it is. The flush that the guest sends later goes out on another connection
// where this one was lost or another host has taken over, and without CAN_MULTI_CONN need not reach what was written on
// this.
bool NbdBackend::must_be_durable(const BlockRequest& request) const noexcept {
  return request.changes_storage() && geometry_.can_flush && (request.write_through || !connection_->can_multi_conn());
}

}  // namespace kemari
