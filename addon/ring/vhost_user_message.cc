#include "ring/vhost_user_message.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "error.h"

namespace kemari {

namespace {

// What a payload may look like.
struct Shape {
  size_t low_bytes;
  size_t high_bytes;
};

constexpr size_t kMemoryTableHeaderBytes = 8;  // count and padding
constexpr size_t kMemorySlotBytes = 8 + sizeof(VhostUserMemoryRegion);

[[noreturn]] void unknown_request(uint32_t request) {
  fail("KEMARI_VHOST_USER_REQUEST",
       "vhost-user request " + std::to_string(request) + " is not known or was not offered");
}

Shape shape_of(uint32_t request) {
  using enum VhostUserRequest;
  switch (static_cast<VhostUserRequest>(request)) {
    case VHOST_USER_GET_FEATURES:
    case VHOST_USER_SET_OWNER:
    case VHOST_USER_RESET_OWNER:
    case VHOST_USER_GET_PROTOCOL_FEATURES:
    case VHOST_USER_GET_QUEUE_NUM:
    case VHOST_USER_GET_MAX_MEM_SLOTS:
      // Some front-ends send the reply's size along; it says nothing.
      return {0, sizeof(uint64_t)};
    case VHOST_USER_SET_FEATURES:
    case VHOST_USER_SET_PROTOCOL_FEATURES:
    case VHOST_USER_SET_VRING_KICK:
    case VHOST_USER_SET_VRING_CALL:
    case VHOST_USER_SET_VRING_ERR:
      return {sizeof(uint64_t), sizeof(uint64_t)};
    case VHOST_USER_SET_MEM_TABLE:
      return {kMemoryTableHeaderBytes,
              kMemoryTableHeaderBytes + VHOST_MEMORY_BASELINE_NREGIONS * sizeof(VhostUserMemoryRegion)};
    case VHOST_USER_SET_VRING_NUM:
    case VHOST_USER_SET_VRING_BASE:
    case VHOST_USER_GET_VRING_BASE:
    case VHOST_USER_SET_VRING_ENABLE:
      return {sizeof(VhostUserVringState), sizeof(VhostUserVringState)};
    case VHOST_USER_SET_VRING_ADDR:
      return {sizeof(VhostUserVringAddress), sizeof(VhostUserVringAddress)};
    case VHOST_USER_GET_CONFIG:
    case VHOST_USER_SET_CONFIG:
      return {sizeof(VhostUserConfigHeader), sizeof(VhostUserConfigHeader) + VHOST_USER_MAX_CONFIG_SIZE};
    case VHOST_USER_GET_INFLIGHT_FD:
    case VHOST_USER_SET_INFLIGHT_FD:
      return {kVhostUserInflightBytes, sizeof(VhostUserInflight)};
    case VHOST_USER_ADD_MEM_REG:
    case VHOST_USER_REM_MEM_REG:
      return {kMemorySlotBytes, kMemorySlotBytes};
  }
  unknown_request(request);
}

[[noreturn]] void bad_size(uint32_t request, size_t size) {
  fail("KEMARI_VHOST_USER_SIZE",
       "vhost-user request " + std::to_string(request) + " has a payload of " + std::to_string(size) + " bytes");
}

template <typename Value>
Value read(std::span<const uint8_t> bytes, size_t offset = 0) {
  Value value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

void expect_fds(const VhostUserHeader& header, size_t found, size_t low, size_t high) {
  if (found >= low && found <= high) return;
  fail("KEMARI_VHOST_USER_FDS", "vhost-user request " + std::to_string(header.request) + " came with " +
                                    std::to_string(found) + " file descriptors, expected " + std::to_string(high));
}

std::vector<VhostUserMemoryRegion> memory_table(const VhostUserHeader& header, std::span<const uint8_t> payload) {
  const auto count = read<uint32_t>(payload);
  if (count > VHOST_MEMORY_BASELINE_NREGIONS ||
      payload.size() != kMemoryTableHeaderBytes + count * sizeof(VhostUserMemoryRegion)) {
    bad_size(header.request, payload.size());
  }
  std::vector<VhostUserMemoryRegion> regions(count);
  for (size_t i = 0; i < count; i++) {
    regions[i] = read<VhostUserMemoryRegion>(payload, kMemoryTableHeaderBytes + i * sizeof(VhostUserMemoryRegion));
  }
  return regions;
}

VhostUserConfig config(const VhostUserHeader& header, std::span<const uint8_t> payload) {
  const auto access = read<VhostUserConfigHeader>(payload);
  const std::span<const uint8_t> bytes = payload.subspan(sizeof access);
  const bool is_set = header.request == static_cast<uint32_t>(VhostUserRequest::VHOST_USER_SET_CONFIG);
  if (access.size > VHOST_USER_MAX_CONFIG_SIZE || access.offset > VHOST_USER_MAX_CONFIG_SIZE - access.size ||
      (is_set && bytes.size() != access.size)) {
    bad_size(header.request, payload.size());
  }
  return {access.offset, access.size, access.flags, {bytes.begin(), bytes.end()}};
}

}  // namespace

void check_vhost_user_header(const VhostUserHeader& header) {
  if ((header.flags & kVhostUserVersionMask) != kVhostUserVersion || (header.flags & kVhostUserReplyFlag) != 0) {
    fail("KEMARI_VHOST_USER_VERSION", "a vhost-user header has flags " + std::to_string(header.flags) +
                                          ", expected a request of protocol version 1");
  }
  const Shape shape = shape_of(header.request);
  if (header.size < shape.low_bytes || header.size > shape.high_bytes) bad_size(header.request, header.size);
}

VhostUserMessage decode_vhost_user(const VhostUserHeader& header, std::span<const uint8_t> payload, size_t fd_count) {
  check_vhost_user_header(header);
  if (payload.size() != header.size) bad_size(header.request, payload.size());
  VhostUserMessage message{static_cast<VhostUserRequest>(header.request), (header.flags & kVhostUserNeedReplyFlag) != 0,
                           std::monostate{}};
  size_t low_fds = 0;
  size_t high_fds = 0;
  using enum VhostUserRequest;
  switch (message.request) {
    case VHOST_USER_SET_FEATURES:
    case VHOST_USER_SET_PROTOCOL_FEATURES:
      message.payload = read<uint64_t>(payload);
      break;
    case VHOST_USER_SET_MEM_TABLE: {
      std::vector<VhostUserMemoryRegion> regions = memory_table(header, payload);
      low_fds = high_fds = regions.size();
      message.payload = std::move(regions);
      break;
    }
    case VHOST_USER_ADD_MEM_REG:
    case VHOST_USER_REM_MEM_REG:
      // Some front-ends send the descriptor with the removal too; it is closed unused.
      low_fds = message.request == VHOST_USER_ADD_MEM_REG ? 1 : 0;
      high_fds = 1;
      message.payload = std::vector{read<VhostUserMemoryRegion>(payload, sizeof(uint64_t))};
      break;
    case VHOST_USER_SET_VRING_NUM:
    case VHOST_USER_SET_VRING_BASE:
    case VHOST_USER_GET_VRING_BASE:
    case VHOST_USER_SET_VRING_ENABLE:
      message.payload = read<VhostUserVringState>(payload);
      break;
    case VHOST_USER_SET_VRING_ADDR:
      message.payload = read<VhostUserVringAddress>(payload);
      break;
    case VHOST_USER_SET_VRING_KICK:
    case VHOST_USER_SET_VRING_CALL:
    case VHOST_USER_SET_VRING_ERR: {
      const auto value = read<uint64_t>(payload);
      const bool has_fd = (value & kVringNoFdFlag) == 0;
      low_fds = high_fds = has_fd ? 1 : 0;
      message.payload = VhostUserVringFd{static_cast<uint32_t>(value & kVringIndexMask), has_fd};
      break;
    }
    case VHOST_USER_GET_CONFIG:
    case VHOST_USER_SET_CONFIG:
      message.payload = config(header, payload);
      break;
    case VHOST_USER_GET_INFLIGHT_FD:
    case VHOST_USER_SET_INFLIGHT_FD: {
      low_fds = high_fds = message.request == VHOST_USER_SET_INFLIGHT_FD ? 1 : 0;
      VhostUserInflight area{};
      std::memcpy(&area, payload.data(), kVhostUserInflightBytes);
      message.payload = area;
      message.payload_bytes = payload.size();
      break;
    }
    case VHOST_USER_GET_FEATURES:
    case VHOST_USER_SET_OWNER:
    case VHOST_USER_RESET_OWNER:
    case VHOST_USER_GET_PROTOCOL_FEATURES:
    case VHOST_USER_GET_QUEUE_NUM:
    case VHOST_USER_GET_MAX_MEM_SLOTS:
      break;
  }
  expect_fds(header, fd_count, low_fds, high_fds);
  return message;
}

}  // namespace kemari
