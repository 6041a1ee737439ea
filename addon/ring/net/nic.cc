#include "ring/net/nic.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "error.h"
#include "ring/net/net_header.h"

namespace kemari {

namespace {

constexpr uint64_t kOffered = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_MAC | VIRTIO_NET_F_GUEST_TSO4 |
                              VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN | VIRTIO_NET_F_GUEST_UFO |
                              VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_ECN |
                              VIRTIO_NET_F_HOST_UFO | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS |
                              VIRTIO_NET_F_GUEST_ANNOUNCE;
constexpr uint64_t kUso = VIRTIO_NET_F_GUEST_USO4 | VIRTIO_NET_F_GUEST_USO6 | VIRTIO_NET_F_HOST_USO;

bool is_receive(uint32_t index) {
  return index % 2 == 0;
}

}  // namespace

Nic::Nic(Options device, const Tap::Options& tap)
    : RingDevice(std::move(device)),
      tap_(tap),
      addresses_(tap.guest_mac),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
  if (!timer_.valid())
    fail_errno("KEMARI_EVENT_LOOP", "timerfd_create", "cannot make the timer of NIC '" + name() + "'");
  for (uint32_t number = 0; number < tap_.queue_count(); number++) {
    pairs_.push_back(std::make_unique<Pair>(*this, number));
  }
}

Nic::~Nic() {
  stop();
}

void Nic::open() {
  const std::unique_lock lock = park();
  tap_.bring_up();
}

void Nic::send(std::span<const uint8_t> frame) {
  const std::unique_lock lock = park();
  // No driver ever used it, or it has ended: there is nobody to speak of.
  if (tap_.header_bytes() == 0 || tap_.fd(0) < 0) return;
  // Nor for a guest that another host may run by now.
  if (!lane().may_submit()) return;
  std::vector<uint8_t> bytes(tap_.header_bytes(), 0);  // nothing to segment, no checksum to complete
  bytes.insert(bytes.end(), frame.begin(), frame.end());
  if (::write(tap_.fd(0), bytes.data(), bytes.size()) < 0) {
    fail_errno("KEMARI_NET_TAP", "write", "cannot send a frame for the guest of tap '" + tap_.name() + "'");
  }
}

std::vector<uint32_t> Nic::addresses() {
  const std::unique_lock lock = park();
  return addresses_.all();
}

uint64_t Nic::device_features() const {
  return kOffered | (tap_.has_uso() ? kUso : 0) | (tap_.queue_count() > 1 ? VIRTIO_NET_F_MQ : 0);
}

void Nic::features_acked(uint64_t features) {
  if (features == features_) return;
  features_ = features;
  for (const auto& pair : pairs_) {
    pair->receive.features_changed();
    pair->transmit.abandon_held();  // what is answered has the wrong header now
  }
  with_tap([&] { tap_.configure(net_header_bytes(features), tun_offload(features)); });
}

void Nic::memory_changed() {
  for (const auto& pair : pairs_) pair->receive.memory_changed();
}

void Nic::thread_started() {
  for (uint32_t number = 0; number < tap_.queue_count(); number++) {
    Pair& pair = *pairs_[number];
    const auto ready = [&pair] {
      pair.transmit.tap_writable();
      pair.receive.run();
      pair.transmit.complete_left();
    };
    loop().add(tap_.fd(number), ready, true);
  }
  loop().add(timer_.get(), [this] {
    uint64_t expirations;
    if (::read(timer_.get(), &expirations, sizeof(expirations)) < 0) return;  // not yet
    is_timer_set_ = false;
    for (const auto& pair : pairs_) pair->transmit.complete_left();
  });
}

void Nic::complete_later() {
  if (is_timer_set_) return;
  itimerspec delay{};
  delay.it_value.tv_nsec = std::chrono::nanoseconds(kQuietDelay).count();
  KEMARI_ASSERT(::timerfd_settime(timer_.get(), 0, &delay, nullptr) == 0);
  is_timer_set_ = true;
}

void Nic::thread_ending() {
  for (uint32_t number = 0; number < tap_.queue_count(); number++) loop().remove(tap_.fd(number));
  loop().remove(timer_.get());
  timer_.reset();
  tap_.close();  // now, however long JavaScript keeps the closed device
}

void Nic::abandon() {
  for (const auto& pair : pairs_) {
    pair->transmit.give_up_waiting();
    pair->transmit.abandon_held();
    pair->transmit.complete_left();
  }
}

void Nic::queue_started(uint32_t index) {
  Pair& pair = *pairs_[index / 2];
  if (!is_receive(index)) {
    if (!answered_.empty()) submit_answered(index);
    return pair.transmit.start();
  }
  with_tap([&] { tap_.attach(index / 2, true); });
  pair.receive.start();
}

void Nic::queue_kicked(uint32_t index) {
  Pair& pair = *pairs_[index / 2];
  if (is_receive(index)) {
    pair.receive.run();
  } else {
    pair.transmit.run();
  }
}

void Nic::queue_stopping(uint32_t index) {
  Pair& pair = *pairs_[index / 2];
  if (is_receive(index)) {
    pair.receive.stop();
  } else {
    pair.transmit.stop();
  }
}

void Nic::queue_enabled(uint32_t index, bool enabled) {
  if (is_receive(index)) with_tap([&] { tap_.attach(index / 2, enabled); });
}

uint32_t Nic::in_flight(uint32_t index) const {
  return is_receive(index) ? 0 : pairs_[index / 2]->transmit.in_flight();
}

void Nic::abandon_held(uint32_t index) {
  if (!is_receive(index)) pairs_[index / 2]->transmit.abandon_held();
}

void Nic::lane_released() {
  for (const auto& pair : pairs_) pair->transmit.send_waiting();  // the lease may have ended on them
  while (Outbound* request = lane().next_released()) TransmitQueue::released(*request);
  for (const auto& pair : pairs_) {
    pair->transmit.complete_left();
    pair->transmit.run_if_starved();
  }
}

std::vector<DeviceRequest> Nic::requests_to_cut() {
  std::vector<DeviceRequest> requests;
  for (const auto& pair : pairs_) pair->transmit.add_to_cut(requests);
  return requests;
}

std::vector<CutAnswered> Nic::answered_to_cut() {
  std::vector<CutAnswered> answered;
  for (const Answered& frame : answered_) answered.push_back({frame.queue, frame.sequence, frame.bytes});
  for (const auto& pair : pairs_) pair->transmit.add_answered(answered);
  std::sort(answered.begin(), answered.end(), [](const auto& a, const auto& b) { return a.sequence < b.sequence; });
  return answered;
}

void Nic::take_answered(std::span<const CutAnswered> answered, uint64_t features) {
  for (const CutAnswered& frame : answered) {
    if (is_receive(frame.queue) || frame.bytes.size() > sizeof(NetHeader) + kMaxFrameBytes) {
      fail("KEMARI_RING_STATE", "NIC '" + name() + "': queue " + std::to_string(frame.queue) +
                                    " of a checkpoint has sent a frame of " + std::to_string(frame.bytes.size()) +
                                    " bytes, which it cannot");
    }
  }
  for (const CutAnswered& frame : answered) {
    answered_.push_back({frame.queue, frame.sequence, {frame.bytes.begin(), frame.bytes.end()}});
  }
  answered_features_ = features;
}

// The guest that sent them runs again. One that has reset the device since may have other headers: they are lost then,
// as frames may be.
void Nic::submit_answered(uint32_t index) {
  for (const Answered& frame : answered_) {
    if (frame.queue != index) continue;
    const bool is_same = features_ == answered_features_;
    if (!is_same || !pairs_[index / 2]->transmit.submit_answered(frame.bytes)) NicStats::add(stats_.dropped, 1);
  }
  std::erase_if(answered_, [index](const Answered& frame) { return frame.queue == index; });
}

void Nic::submit_again(uint32_t index, const CutRequest& request, const std::vector<Segment>& writable) {
  if (is_receive(index) || request.kind != RequestKind::kFrame || !writable.empty()) {
    fail("KEMARI_RING_STATE", "NIC '" + name() + "': queue " + std::to_string(index) +
                                  " of a checkpoint has a request that is no frame to be sent");
  }
  pairs_[index / 2]->transmit.submit_again(request);
}

// Someone may delete the tap under us: the guest then has a dead wire, not a broken device.
void Nic::with_tap(const std::function<void()>& change) {
  try {
    change();
  } catch (const Error& error) {
    tap_gone(error.error_number());
  }
}

void Nic::tap_gone(int error_number) {
  if (std::exchange(is_tap_gone_, true)) return;
  emit({DeviceEvent::Type::kIoError, "KEMARI_NET_TAP_GONE",
        "tap '" + tap_.name() + "' was deleted (" + std::strerror(error_number) +
            "): the guest has no network until it is created again"});
}

}  // namespace kemari
