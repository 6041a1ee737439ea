#include "ring/xen/netif_receive_queue.h"

#include <algorithm>
#include <cstring>

#include "error.h"

namespace kemari::xen {

namespace {

// virtio 1.2 section 5.1.6.
constexpr uint8_t kNeedsCsum = 1;
constexpr uint8_t kDataValid = 2;
constexpr uint8_t kGsoTcpV4 = 1;
constexpr uint8_t kGsoTcpV6 = 4;

uint16_t flags_of(const NetHeader& header) {
  if ((header.flags & kNeedsCsum) != 0) return XEN_NETRXF_csum_blank | XEN_NETRXF_data_validated;
  return (header.flags & kDataValid) != 0 ? XEN_NETRXF_data_validated : 0;
}

bool is_segment(const NetHeader& header) {
  return header.gso_type == kGsoTcpV4 || header.gso_type == kGsoTcpV6;
}

}  // namespace

void NetifReceiveQueue::set_accepted(uint64_t features) {
  has_segments_ = (features & (VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6)) != 0;
}

void NetifReceiveQueue::set_base(uint16_t last_available_index) {
  NetifQueue::set_base(last_available_index);
  requests_.clear();
  answers_.clear();
  copies_.clear();
  buffers_left_ = 0;
}

uint16_t NetifReceiveQueue::stop() noexcept {
  KEMARI_ASSERT(popped_.empty() && answers_.empty());
  ring().unpop(static_cast<uint32_t>(requests_.size()));
  requests_.clear();
  return NetifQueue::stop();
}

PopResult NetifReceiveQueue::read_requests(size_t count) {
  while (requests_.size() < count) {
    netif_rx_request request;
    const PopResult result = pop_entry(&request);
    if (result != PopResult::kChain) return result;
    requests_.push_back(request);
  }
  return PopResult::kChain;
}

PopResult NetifReceiveQueue::pop(Chain& chain) {
  const PopResult result = read_requests(wanted());
  if (result != PopResult::kChain) return result;
  chain.head = pages_.take();  // there are as many as a ring has entries
  popped_.push_back(chain.head);
  chain.readable.clear();
  chain.writable.assign(1, {pages_.at(chain.head), kPageBytes});
  return PopResult::kChain;
}

void NetifReceiveQueue::unpop(uint16_t count) noexcept {
  for (; count > 0; count--) {
    pages_.give_back(popped_.back());
    popped_.pop_back();
  }
}

bool NetifReceiveQueue::empty() const noexcept {
  if (!is_started()) return true;
  // What breaks the ring is to be found by pop().
  return fault().empty() && requests_.size() + ring().available() < wanted();
}

bool NetifReceiveQueue::arm_kicks() noexcept {
  if (!are_kicks_wanted()) return false;
  while (empty()) {
    // The driver is asked to tell of the next one, wherever that leaves us: all that there are must be here.
    if (read_requests(SIZE_MAX) == PopResult::kBroken) return true;
    if (!ring().arm()) return false;
  }
  return true;
}

netif_rx_request NetifReceiveQueue::take_request() noexcept {
  const netif_rx_request request = requests_.front();  // pop() has seen to it
  requests_.pop_front();
  return request;
}

void NetifReceiveQueue::push_used(uint16_t head, uint32_t written) noexcept {
  const auto popped = std::ranges::find(popped_, head);
  KEMARI_ASSERT(popped != popped_.end() && written <= kPageBytes);
  popped_.erase(popped);
  const bool is_first = buffers_left_ == 0;
  if (is_first) {
    std::memcpy(&header_, pages_.at(head), sizeof header_);
    KEMARI_ASSERT(header_.num_buffers != 0 && written >= sizeof header_);
    buffers_left_ = header_.num_buffers;
  }
  buffers_left_--;
  answer_data(head, written);
  // It takes the request of a page that the frame could have had: the driver offers that page again.
  if (is_first && is_segment(header_)) answer_extra();
}

void NetifReceiveQueue::answer_data(uint16_t head, uint32_t written) {
  const bool is_first = buffers_left_ + 1 == header_.num_buffers;
  const auto offset = static_cast<uint16_t>(is_first ? sizeof header_ : 0);
  const auto length = static_cast<uint16_t>(written - offset);
  const netif_rx_request request = take_request();
  uint16_t flags = is_first ? flags_of(header_) : 0;
  if (buffers_left_ != 0) flags |= XEN_NETRXF_more_data;
  if (is_first && is_segment(header_)) flags |= XEN_NETRXF_extra_info;
  answers_.push_back({{request.id, 0, flags, static_cast<int16_t>(length)}, false, {}, head, length != 0});
  if (length != 0) copies_.push_back({{request.gref, 0, length}, pages_.at(head) + offset});
}

void NetifReceiveQueue::answer_extra() {
  static_cast<void>(take_request());
  netif_extra_info extra{};
  extra.type = XEN_NETIF_EXTRA_TYPE_GSO;
  extra.gso_size = header_.gso_size;
  extra.gso_type = header_.gso_type == kGsoTcpV4 ? XEN_NETIF_GSO_TYPE_TCPV4 : XEN_NETIF_GSO_TYPE_TCPV6;
  answers_.push_back({{}, true, extra, 0, false});
}

bool NetifReceiveQueue::publish() noexcept {
  grants_.copy(copies_, GrantCopier::Direction::kOut);
  auto copy = copies_.begin();
  for (Answer& answer : answers_) {
    if (answer.is_extra) {
      ring().push(&answer.extra, sizeof answer.extra);
      continue;
    }
    if (answer.has_copy && !(copy++)->is_done) answer.response.status = XEN_NETIF_RSP_ERROR;
    ring().push(&answer.response, sizeof answer.response);
    pages_.give_back(answer.page);
  }
  answers_.clear();
  copies_.clear();
  return NetifQueue::publish();
}

}  // namespace kemari::xen
