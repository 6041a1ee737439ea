#include "ring/vhost_user_session.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "error.h"
#include "ring/device_queue.h"
#include "ring/split_queue.h"
#include "ring/virtio_ring.h"

namespace kemari {

namespace {

// Requests of a stop or a start come in a burst, with the guest's vCPUs stopped: sleeping between two of them would
// cost the guest a wake-up each.
constexpr std::chrono::microseconds kBurstSpin{50};

constexpr uint64_t bit(unsigned number) {
  return 1ull << number;
}
constexpr uint64_t kDeviceFeatureMask = bit(24) - 1;

std::span<const uint8_t> bytes_of(const auto& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}

[[noreturn]] void out_of_order(const std::string& what) {
  fail("KEMARI_VHOST_USER_STATE", what);
}

}  // namespace

VhostUserSession::VhostUserSession(RingDevice& device, UniqueFd socket) : device_(device), socket_(std::move(socket)) {}

std::unique_ptr<RequestQueue> VhostUserSession::make_queue(uint32_t index) {
  if (index >= signals_.size()) signals_.resize(index + 1);
  return std::make_unique<SplitQueue>(device_.memory_);
}

void VhostUserSession::open() {
  device_.loop_->add(socket_.fd(), [this] { device_.protect([this] { serve(); }); });
  watched_ = true;
}

void VhostUserSession::close() noexcept {
  if (std::exchange(watched_, false)) {
    device_.loop_->remove(socket_.fd());
    for (VhostUserSignals& signals : signals_) {
      signals.stop_kicks(*device_.loop_);
      signals = {};
    }
  }
  closed_ = true;
  owed_ = nullptr;
  inflight_area_.reset();
  socket_.close();
}

void VhostUserSession::call(const DeviceQueue& queue) noexcept {
  signals_[queue.index].call_driver();
}

void VhostUserSession::queue_broken(const DeviceQueue& queue) noexcept {
  signals_[queue.index].report_error();
}

InflightQueue VhostUserSession::inflight(uint32_t index) {
  return inflight_area_ ? inflight_area_->queue(index) : InflightQueue{};
}

void VhostUserSession::serve() {
  std::chrono::steady_clock::time_point spin_until{};
  // While an answer is owed the front-end waits for it; what it sent ahead stays in the socket.
  while (!closed_ && owed_ == nullptr) {
    switch (socket_.receive()) {
      case VhostUserSocket::Receive::kMessage: {
        const VhostUserMessage message = decode_vhost_user(socket_.header(), socket_.payload(), socket_.fds().size());
        handle(message);
        spin_until = more_is_near(message.request) ? std::chrono::steady_clock::now() + kBurstSpin
                                                   : std::chrono::steady_clock::time_point{};
        break;
      }
      case VhostUserSocket::Receive::kNothingYet:
        if (device_.parkers_.load(std::memory_order_relaxed) != 0 || std::chrono::steady_clock::now() >= spin_until) {
          return;
        }
        std::this_thread::yield();
        break;
      case VhostUserSocket::Receive::kClosed:
        device_.connection_ended({DeviceEvent::Type::kDisconnected, "", "the front-end closed the connection"});
        return;
    }
  }
}

// Whether the front-end is in the middle of starting or stopping the device. Once it has stopped the last queue whoever
// takes a checkpoint wants the device's lock.
bool VhostUserSession::more_is_near(VhostUserRequest handled) const {
  const bool any_runs = std::any_of(device_.queues_.begin(), device_.queues_.end(),
                                    [](const auto& queue) { return queue->state == QueueState::kStarted; });
  if (handled == VhostUserRequest::VHOST_USER_GET_VRING_BASE && !any_runs) return false;
  return std::any_of(device_.queues_.begin(), device_.queues_.end(),
                     [](const auto& queue) { return queue->addresses.has_value() && !queue->running; });
}

void VhostUserSession::handle(const VhostUserMessage& message) {
  answered_ = refused_ = false;
  const bool acknowledge = message.need_reply && (protocol_features_ & bit(VHOST_USER_PROTOCOL_F_REPLY_ACK)) != 0;
  try {
    using enum VhostUserRequest;
    switch (message.request) {
      case VHOST_USER_GET_FEATURES:
      case VHOST_USER_SET_FEATURES:
      case VHOST_USER_GET_PROTOCOL_FEATURES:
      case VHOST_USER_SET_PROTOCOL_FEATURES:
      case VHOST_USER_GET_QUEUE_NUM:
      case VHOST_USER_SET_OWNER:
      case VHOST_USER_RESET_OWNER:
        handle_feature(message);
        break;
      case VHOST_USER_SET_MEM_TABLE:
      case VHOST_USER_GET_MAX_MEM_SLOTS:
      case VHOST_USER_ADD_MEM_REG:
      case VHOST_USER_REM_MEM_REG:
        handle_memory(message);
        break;
      case VHOST_USER_GET_CONFIG:
      case VHOST_USER_SET_CONFIG:
        handle_config(message);
        break;
      case VHOST_USER_GET_INFLIGHT_FD:
      case VHOST_USER_SET_INFLIGHT_FD:
        handle_inflight(message);
        break;
      default:
        handle_queue(message);
    }
  } catch (const Error&) {
    // The front-end learns that it failed before it finds the connection closed.
    if (acknowledge && !answered_) reply_number(message.request, 1);
    throw;
  }
  if (acknowledge && !answered_ && owed_ == nullptr) reply_number(message.request, refused_ ? 1 : 0);
}

void VhostUserSession::reply_number(VhostUserRequest request, uint64_t value) {
  answered_ = true;
  socket_.reply(static_cast<uint32_t>(request), bytes_of(value));
}

UniqueFd VhostUserSession::take_fd() {
  return std::move(socket_.fds().at(0));
}

DeviceQueue& VhostUserSession::queue_at(uint32_t index) {
  if (index >= device_.queues_.size()) {
    fail("KEMARI_VHOST_USER_QUEUE",
         "queue " + std::to_string(index) + " is named, the device has " + std::to_string(device_.queues_.size()));
  }
  return *device_.queues_[index];
}

uint64_t VhostUserSession::offered_features() const {
  return (device_.device_features() & kDeviceFeatureMask) | bit(VIRTIO_RING_F_INDIRECT_DESC) |
         bit(VIRTIO_RING_F_EVENT_IDX) | bit(VHOST_USER_F_PROTOCOL_FEATURES) | bit(VIRTIO_F_VERSION_1);
}

uint64_t VhostUserSession::offered_protocol_features() const {
  return bit(VHOST_USER_PROTOCOL_F_MQ) | bit(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
         bit(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) | bit(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
         (device_.config().empty() ? 0 : bit(VHOST_USER_PROTOCOL_F_CONFIG));
}

void VhostUserSession::handle_feature(const VhostUserMessage& message) {
  using enum VhostUserRequest;
  switch (message.request) {
    case VHOST_USER_GET_FEATURES:
      return reply_number(message.request, offered_features());
    case VHOST_USER_GET_PROTOCOL_FEATURES:
      return reply_number(message.request, offered_protocol_features());
    case VHOST_USER_GET_QUEUE_NUM:
      return reply_number(message.request, device_.queues_.size());
    case VHOST_USER_SET_FEATURES:
      return set_features(std::get<uint64_t>(message.payload));
    case VHOST_USER_SET_PROTOCOL_FEATURES: {
      const auto features = std::get<uint64_t>(message.payload);
      if ((features & ~offered_protocol_features()) != 0) {
        fail("KEMARI_VHOST_USER_FEATURES", "protocol features were set that were not offered");
      }
      protocol_features_ = features;
      return;
    }
    default:
      // SET_OWNER: the connection itself is the session. RESET_OWNER: the specification advises to ignore it.
      return;
  }
}

void VhostUserSession::set_features(uint64_t features) {
  if ((features & ~offered_features()) != 0) {
    fail("KEMARI_VHOST_USER_FEATURES", "features were set that were not offered");
  }
  const bool in_use = std::any_of(device_.queues_.begin(), device_.queues_.end(),
                                  [](const auto& queue) { return queue->state == QueueState::kStarted; });
  if (in_use && features != features_) out_of_order("features were changed while a queue is started");
  features_ = features;
  device_.features_acked(features);
  if ((features & bit(VHOST_USER_F_PROTOCOL_FEATURES)) != 0) return;
  for (const auto& queue : device_.queues_) device_.set_enabled(*queue, true);
}

void VhostUserSession::handle_memory(const VhostUserMessage& message) {
  using enum VhostUserRequest;
  if (message.request == VHOST_USER_GET_MAX_MEM_SLOTS) {
    return reply_number(message.request, GuestMemory::kMaxRegions);
  }
  const auto& regions = std::get<std::vector<VhostUserMemoryRegion>>(message.payload);
  const auto region_at = [&](size_t i) {
    const VhostUserMemoryRegion& region = regions[i];
    return MemoryRegion{region.guest_address, region.size, region.user_address, region.mmap_offset,
                        RamFile::map(socket_.fds().at(i).get())};
  };
  if (message.request == VHOST_USER_REM_MEM_REG) {
    device_.memory_.remove(regions[0].guest_address, regions[0].size, regions[0].user_address);
  } else if (message.request == VHOST_USER_ADD_MEM_REG) {
    device_.memory_.add(region_at(0));
  } else {
    std::vector<MemoryRegion> table;
    for (size_t i = 0; i < regions.size(); i++) table.push_back(region_at(i));
    device_.memory_.set(std::move(table));
  }
  device_.memory_replaced();
}

void VhostUserSession::handle_config(const VhostUserMessage& message) {
  const auto& access = std::get<VhostUserConfig>(message.payload);
  if ((protocol_features_ & bit(VHOST_USER_PROTOCOL_F_CONFIG)) == 0) {
    out_of_order("configuration space was accessed though it was not negotiated");
  }
  if (message.request == VhostUserRequest::VHOST_USER_SET_CONFIG) {
    refused_ = !device_.set_config(access.offset, access.bytes);
    return;
  }
  // A front-end may know a longer space than the device has: what is beyond reads as zero.
  struct {
    VhostUserConfigHeader header;
    std::array<uint8_t, VHOST_USER_MAX_CONFIG_SIZE> bytes;
  } reply{{access.offset, access.size, access.flags}, {}};
  const std::span<const uint8_t> config = device_.config();
  if (access.offset < config.size()) {
    const std::span<const uint8_t> part = config.subspan(access.offset);
    std::memcpy(reply.bytes.data(), part.data(), std::min<size_t>(part.size(), access.size));
  }
  answered_ = true;
  socket_.reply(static_cast<uint32_t>(message.request), bytes_of(reply).first(sizeof reply.header + access.size));
}

void VhostUserSession::handle_inflight(const VhostUserMessage& message) {
  const auto& area = std::get<VhostUserInflight>(message.payload);
  if (area.queue_count > device_.queues_.size()) {
    fail("KEMARI_VHOST_USER_INFLIGHT", "an inflight area for " + std::to_string(area.queue_count) +
                                           " queues is asked for, the device has " +
                                           std::to_string(device_.queues_.size()));
  }
  if (message.request == VhostUserRequest::VHOST_USER_SET_INFLIGHT_FD) {
    inflight_area_ =
        InflightArea::adopt(take_fd().get(), area.mmap_size, area.mmap_offset, area.queue_count, area.queue_size);
    return;
  }
  // The front-end gives it back with SET_INFLIGHT_FD; until then it is its own.
  const std::shared_ptr<InflightArea> created = InflightArea::create(area.queue_count, area.queue_size);
  const VhostUserInflight reply{created->size_bytes(), 0, area.queue_count, area.queue_size, 0};
  answered_ = true;
  // As long as the question was: see VhostUserInflight.
  socket_.reply(static_cast<uint32_t>(message.request), bytes_of(reply).first(message.payload_bytes), created->fd());
}

void VhostUserSession::handle_queue(const VhostUserMessage& message) {
  if (const auto* fd = std::get_if<VhostUserVringFd>(&message.payload)) return set_fd(message.request, *fd);
  if (const auto* address = std::get_if<VhostUserVringAddress>(&message.payload)) {
    return set_address(queue_at(address->index), *address);
  }
  const auto& state = std::get<VhostUserVringState>(message.payload);
  set_vring(message, queue_at(state.index), state);
}

void VhostUserSession::set_vring(const VhostUserMessage& message, DeviceQueue& queue,
                                 const VhostUserVringState& state) {
  using enum VhostUserRequest;
  const bool started = queue.state == QueueState::kStarted;
  switch (message.request) {
    case VHOST_USER_SET_VRING_NUM:
      if (started) out_of_order("the size of a started queue was set");
      SplitQueue::check_size(state.num);
      queue.size = state.num;
      return;
    case VHOST_USER_SET_VRING_BASE:
      if (started) out_of_order("the base of a started queue was set");
      if (state.num > UINT16_MAX) fail("KEMARI_VHOST_USER_RING", "the base of a queue is larger than any index");
      queue.base = static_cast<uint16_t>(state.num);
      return;
    case VHOST_USER_SET_VRING_ENABLE:
      if (state.num > 1) fail("KEMARI_VHOST_USER_RING", "a queue is to be enabled with a value other than 0 and 1");
      return device_.set_enabled(queue, state.num == 1);
    default:  // VHOST_USER_GET_VRING_BASE
      signals_[queue.index].stop_kicks(*device_.loop_);
      if (!device_.stop_queue(queue)) {
        owed_ = &queue;
        return;
      }
      if (started) signals_[queue.index].call.reset();
      reply_base(queue);
  }
}

void VhostUserSession::set_address(DeviceQueue& queue, const VhostUserVringAddress& address) {
  const QueueAddresses addresses{address.descriptor, address.available, address.used};
  // The only change that the specification has for a started queue is that of its log, which we do not offer.
  if (queue.state == QueueState::kStarted && queue.addresses != addresses) {
    out_of_order("the addresses of a started queue were changed");
  }
  queue.addresses = addresses;
}

void VhostUserSession::set_fd(VhostUserRequest request, const VhostUserVringFd& payload) {
  using enum VhostUserRequest;
  DeviceQueue& queue = queue_at(payload.index);
  UniqueFd fd;
  if (payload.has_fd) {
    fd = take_fd();
    check_eventfd(fd);
  }
  if (request == VHOST_USER_SET_VRING_CALL) {
    signals_[queue.index].set_call(std::move(fd));
  } else if (request == VHOST_USER_SET_VRING_ERR) {
    signals_[queue.index].error = std::move(fd);
  } else if (!fd.valid()) {
    fail("KEMARI_VHOST_USER_FDS", "a queue without a kick descriptor would have to be polled, which is not served");
  } else {
    const auto kicked = [this, &queue] { device_.protect([&] { device_.kicked(queue); }); };
    signals_[queue.index].set_kick(*device_.loop_, std::move(fd), kicked);
    // A ring that is configured starts here and does not wait for its first kick, as the specification would have it:
    // what the guest offered while the ring was stopped, it will not kick for again.
    device_.kicked(queue);
  }
}

void VhostUserSession::reply_base(const DeviceQueue& queue) {
  const VhostUserVringState reply{queue.index, queue.base};
  answered_ = true;
  socket_.reply(static_cast<uint32_t>(VhostUserRequest::VHOST_USER_GET_VRING_BASE), bytes_of(reply));
}

void VhostUserSession::queue_stopped(const DeviceQueue& queue) {
  if (owed_ != &queue) return;
  owed_ = nullptr;
  signals_[queue.index].call.reset();
  reply_base(queue);
  serve();
}

}  // namespace kemari
