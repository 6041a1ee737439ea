// Requests to a file or block device by system calls that block; for worker threads.
#pragma once

#include "ring/disk/block_backend.h"
#include "ring/disk/disk_file.h"

namespace kemari {

// Carries out the whole request and returns 0 or an errno. Short transfers are continued; an end of file inside the
// disk is ENODATA. Reads and writes go through `request.bounce` where that is set. Where `client` has it that nothing
// may leave, `request.is_withheld` is set: called again, the request goes on.
int run_file_operation(const DiskFile& file, BlockRequest& request, const BlockClient& client) noexcept;

}  // namespace kemari
