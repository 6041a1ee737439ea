// From the bytes of one vhost-user message to what it says. Pure: no socket, no device; a fuzzer's target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "ring/vhost_user_protocol.h"

namespace kemari {

// SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR. Without a descriptor: none is to be used.
struct VhostUserVringFd {
  uint32_t index;
  bool has_fd;
};

// GET_CONFIG and SET_CONFIG; `bytes` is what the message carried, `size` of them.
struct VhostUserConfig {
  uint32_t offset;
  uint32_t size;
  uint32_t flags;
  std::vector<uint8_t> bytes;
};

// A checked request. The payload's type goes with the request:
//   SET_FEATURES, SET_PROTOCOL_FEATURES                 uint64_t
//   SET_MEM_TABLE                                       regions, one descriptor each
//   ADD_MEM_REG (one descriptor), REM_MEM_REG           one region
//   SET_VRING_NUM, BASE, ENABLE, GET_VRING_BASE         VhostUserVringState
//   SET_VRING_ADDR                                      VhostUserVringAddress
//   SET_VRING_KICK, CALL, ERR                           VhostUserVringFd, its descriptor if it has one
//   GET_CONFIG, SET_CONFIG                              VhostUserConfig
//   GET_INFLIGHT_FD, SET_INFLIGHT_FD (one descriptor)   VhostUserInflight
//   others                                              std::monostate
struct VhostUserMessage {
  VhostUserRequest request;
  bool need_reply;
  std::variant<std::monostate, uint64_t, std::vector<VhostUserMemoryRegion>, VhostUserVringState, VhostUserVringAddress,
               VhostUserVringFd, VhostUserConfig, VhostUserInflight>
      payload;
  size_t payload_bytes = 0;  // as it was sent; only where a request has more than one size
};

// Checks what a header alone can tell: version, direction, a known request, a size that request can have. Throws
// KEMARI_VHOST_USER_VERSION, KEMARI_VHOST_USER_REQUEST or KEMARI_VHOST_USER_SIZE.
void check_vhost_user_header(const VhostUserHeader& header);

// Decodes a whole message whose header passed the check; `payload` has header.size bytes. Throws KEMARI_VHOST_USER_SIZE
// for a payload that contradicts itself and KEMARI_VHOST_USER_FDS where `fd_count` does not suit the request.
VhostUserMessage decode_vhost_user(const VhostUserHeader& header, std::span<const uint8_t> payload, size_t fd_count);

}  // namespace kemari
