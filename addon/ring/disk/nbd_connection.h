// One connection to an NBD server, negotiated. Disks use it asynchronously; only connecting blocks.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "ring/disk/block_backend.h"

struct nbd_handle;

namespace kemari {

class NbdConnection {
 public:
  // Connects and negotiates within `timeout`; gives up early when `stopped` says so (asked a few times a second).
  // Throws KEMARI_NBD_CONNECT. (A name look-up is the C library's and may take longer.)
  NbdConnection(const std::string& uri, std::chrono::milliseconds timeout, const std::function<bool()>& stopped);
  ~NbdConnection();
  NbdConnection(const NbdConnection&) = delete;
  NbdConnection& operator=(const NbdConnection&) = delete;

  enum class Answer : uint8_t { kInTime = 1, kNotInTime = 2, kEnded = 3 };

  // Whether the server still answers: reads one block, which may take `timeout`. Nothing else is under way. A
  // connection that does not answer is of no use any more.
  Answer probe(std::chrono::milliseconds timeout);

  nbd_handle* handle() const noexcept { return handle_; }
  const BlockGeometry& geometry() const noexcept { return geometry_; }
  uint64_t max_request_bytes() const noexcept { return max_request_bytes_; }
  bool can_fua() const noexcept { return can_fua_; }
  // The server keeps its connections coherent: a flush on one reaches what was completed on any (the NBD protocol:
  // NBD_FLAG_CAN_MULTI_CONN).
  bool can_multi_conn() const noexcept { return can_multi_conn_; }

 private:
  void connect(const std::string& uri, std::chrono::milliseconds timeout, const std::function<bool()>& stopped);
  void measure(const std::string& uri);
  nbd_handle* handle_;
  BlockGeometry geometry_;
  uint64_t max_request_bytes_ = 0;
  bool can_fua_ = false;
  bool can_multi_conn_ = false;
};

}  // namespace kemari
