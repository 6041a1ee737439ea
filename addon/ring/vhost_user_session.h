// One connection of a front-end: takes its requests, checks them against what was negotiated, and tells the device.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ring/front_end.h"
#include "ring/inflight_area.h"
#include "ring/ring_device.h"
#include "ring/vhost_user_message.h"
#include "ring/vhost_user_signals.h"
#include "ring/vhost_user_socket.h"

namespace kemari {

// Used on the ring thread, under the device's lock.
class VhostUserSession final : public FrontEnd {
 public:
  VhostUserSession(RingDevice& device, UniqueFd socket);

  std::unique_ptr<RequestQueue> make_queue(uint32_t index) override;
  void open() override;
  void close() noexcept override;
  uint64_t features() const noexcept override { return features_; }
  void queue_stopped(const DeviceQueue& queue) override;
  void call(const DeviceQueue& queue) noexcept override;
  void queue_broken(const DeviceQueue& queue) noexcept override;
  InflightQueue inflight(uint32_t index) override;

 private:
  // Handles what is there, and waits a moment for more while a stop or a start is under way. Reports the end of the
  // connection to the device. Throws Error for what the front-end did wrong.
  void serve();
  void handle(const VhostUserMessage& message);
  void handle_feature(const VhostUserMessage& message);
  void handle_memory(const VhostUserMessage& message);
  void handle_queue(const VhostUserMessage& message);
  void handle_config(const VhostUserMessage& message);
  void handle_inflight(const VhostUserMessage& message);

  uint64_t offered_features() const;
  uint64_t offered_protocol_features() const;
  void set_features(uint64_t features);
  void set_vring(const VhostUserMessage& message, DeviceQueue& queue, const VhostUserVringState& state);
  void set_address(DeviceQueue& queue, const VhostUserVringAddress& address);
  void set_fd(VhostUserRequest request, const VhostUserVringFd& payload);
  void reply_base(const DeviceQueue& queue);
  void reply_number(VhostUserRequest request, uint64_t value);
  bool more_is_near(VhostUserRequest handled) const;

  DeviceQueue& queue_at(uint32_t index);
  UniqueFd take_fd();

  RingDevice& device_;
  VhostUserSocket socket_;
  std::vector<VhostUserSignals> signals_;  // by queue
  std::shared_ptr<InflightArea> inflight_area_;
  bool watched_ = false;  // the socket is in the loop
  bool closed_ = false;
  bool answered_ = false;  // the request at hand got a reply of its own
  bool refused_ = false;   // ... and was refused, which is no reason to end the connection
  uint64_t features_ = 0;
  uint64_t protocol_features_ = 0;
  const DeviceQueue* owed_ = nullptr;  // GET_VRING_BASE waits for this queue
};

}  // namespace kemari
