#include "ring/net/receive_queue.h"

#include <limits.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "error.h"
#include "ring/net/nic.h"

namespace kemari {

namespace {

constexpr size_t kMaxTotalBytes = sizeof(NetHeader) + kMaxFrameBytes;
// Without segmentation offload frames are as long as the link's MTU; a longer one spills.
constexpr size_t kUsualTotalBytes = 2048;
constexpr size_t kMaxGatheredSegments = IOV_MAX - 2;  // the header's and the spill's entries

constexpr uint64_t kLargeFrames =
    VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_UFO | VIRTIO_NET_F_GUEST_USO4;

}  // namespace

ReceiveQueue::Gathered::Gathered() : chains_(RequestQueue::kMaxSize + 1) {}

Chain& ReceiveQueue::Gathered::prepare() noexcept {
  return chains_[(first_ + count_) % chains_.size()];
}

void ReceiveQueue::Gathered::push() noexcept {
  const Chain& chain = at(count_);
  bytes_ += chain.writable_bytes();
  segments_ += chain.writable.size();
  count_++;
}

void ReceiveQueue::Gathered::pop_front() noexcept {
  bytes_ -= at(0).writable_bytes();
  segments_ -= at(0).writable.size();
  first_ = (first_ + 1) % chains_.size();
  count_--;
}

void ReceiveQueue::Gathered::clear() noexcept {
  count_ = bytes_ = segments_ = 0;
}

ReceiveQueue::ReceiveQueue(Nic& nic, uint32_t index) : nic_(nic), index_(index), spill_(kMaxTotalBytes + 1) {}

void ReceiveQueue::start() {
  running_ = true;
  run();
}

void ReceiveQueue::stop() {
  running_ = false;
  put_back();
}

void ReceiveQueue::memory_changed() {
  put_back();
  post_turn();  // not at once: memory that nothing uses any more is let go of in between
}

void ReceiveQueue::put_back() {
  if (gathered_.count() != 0) nic_.unpop(index_, static_cast<uint16_t>(gathered_.count()));
  gathered_.clear();
}

void ReceiveQueue::features_changed() {
  if (waiting_bytes_ != 0) NicStats::add(nic_.stats_.dropped, 1);
  waiting_bytes_ = 0;
}

bool ReceiveQueue::is_merging() const noexcept {
  return (nic_.features_ & VIRTIO_NET_F_MRG_RXBUF) != 0;
}

void ReceiveQueue::run() {
  if (!running_) return;
  uint32_t frames = 0;
  uint64_t start_bytes = nic_.stats_.rx_bytes.load(std::memory_order_relaxed);
  for (uint32_t batches = 0; batches < kTurnBatches;) {
    const Outcome outcome = next_frame();
    if (outcome == Outcome::kNoBuffers && !wait_for_buffers()) continue;
    if (outcome != Outcome::kDelivered && outcome != Outcome::kDropped) return;
    const uint64_t bytes = nic_.stats_.rx_bytes.load(std::memory_order_relaxed);
    if (++frames < kBatchFrames && bytes - start_bytes < kBatchBytes) continue;
    nic_.notify(index_);
    frames = 0;
    start_bytes = bytes;
    batches++;
  }
  post_turn();
}

void ReceiveQueue::post_turn() {
  if (posted_) return;
  posted_ = true;
  nic_.loop().post([this] {
    posted_ = false;
    run();
  });
}

// Asks for a kick when the guest adds buffers. False: it just did, go on.
bool ReceiveQueue::wait_for_buffers() {
  RequestQueue& queue = nic_.queue(index_);
  queue.set_kicks_wanted(true);
  if (queue.empty()) return true;
  queue.set_kicks_wanted(false);
  return false;
}

ReceiveQueue::Outcome ReceiveQueue::next_frame() {
  if (waiting_bytes_ != 0) return place_waiting();
  const size_t wanted = (nic_.features_ & kLargeFrames) != 0 ? kMaxTotalBytes : kUsualTotalBytes;
  const Outcome outcome = gather(is_merging() ? wanted : 1, kMaxGatheredSegments);
  return outcome == Outcome::kDelivered ? read_frame() : outcome;
}

ReceiveQueue::Outcome ReceiveQueue::gather(uint64_t wanted_bytes, size_t max_segments) {
  while (gathered_.bytes() < wanted_bytes && gathered_.count() < RequestQueue::kMaxSize) {
    Chain& chain = gathered_.prepare();
    const PopResult result = nic_.pop(index_, chain);
    if (result == PopResult::kBroken) return Outcome::kBroken;
    if (result == PopResult::kEmpty) break;
    if (gathered_.segments() + chain.writable.size() > max_segments) {
      nic_.unpop(index_, 1);
      if (gathered_.count() != 0) break;
      nic_.break_queue(index_, "a receive buffer lies in " + std::to_string(chain.writable.size()) +
                                   " pieces, expected at most " + std::to_string(max_segments));
      return Outcome::kBroken;
    }
    gathered_.push();
  }
  return gathered_.count() != 0 ? Outcome::kDelivered : Outcome::kNoBuffers;
}

// One read: the header to us, then the guest's buffers behind the header's place, then the spill.
ReceiveQueue::Outcome ReceiveQueue::read_frame() {
  const size_t header_bytes = net_header_bytes(nic_.features_);
  vector_.clear();
  vector_.push_back({&header_, header_bytes});
  size_t skip = header_bytes;
  for (size_t position = 0; position < gathered_.count(); position++) {
    for (const Segment& segment : gathered_.at(position).writable) {
      const size_t skipped = std::min<size_t>(skip, segment.length);
      skip -= skipped;
      if (skipped < segment.length) vector_.push_back({segment.hva + skipped, segment.length - skipped});
    }
  }
  const size_t room = std::max<size_t>(gathered_.bytes(), header_bytes);
  const size_t in_guest = std::min(room, kMaxTotalBytes);
  // The spill takes up the frame at the offset where the guest's buffers end, so that a waiting frame is whole there.
  vector_.push_back({spill_.data() + in_guest, spill_.size() - in_guest});

  ssize_t result;
  do {
    result = ::readv(nic_.tap_fd(index_), vector_.data(), static_cast<int>(vector_.size()));
  } while (result < 0 && errno == EINTR);
  if (result < 0) {
    if (errno == EBADFD) nic_.tap_gone(errno);
    return Outcome::kTapEmpty;
  }

  const size_t total_bytes = static_cast<size_t>(result);
  if (total_bytes <= gathered_.bytes() && total_bytes <= kMaxTotalBytes && total_bytes >= header_bytes) {
    deliver(total_bytes, header_);
    return Outcome::kDelivered;
  }
  mark_scribbled();
  if (!is_merging() || total_bytes > kMaxTotalBytes || total_bytes < header_bytes) {
    NicStats::add(nic_.stats_.dropped, 1);
    return Outcome::kDropped;
  }
  copy_out(spill_.data(), in_guest);
  std::memcpy(spill_.data(), &header_, header_bytes);
  waiting_bytes_ = total_bytes;
  return place_waiting();
}

ReceiveQueue::Outcome ReceiveQueue::place_waiting() {
  const Outcome outcome = gather(is_merging() ? waiting_bytes_ : 1, SIZE_MAX);
  if (outcome == Outcome::kBroken) return outcome;
  const size_t total_bytes = waiting_bytes_;
  if (gathered_.bytes() < total_bytes) {
    if (is_merging() && gathered_.count() < nic_.queue(index_).size()) return Outcome::kNoBuffers;
    waiting_bytes_ = 0;  // all the guest's buffers together are too small
    NicStats::add(nic_.stats_.dropped, 1);
    return Outcome::kDropped;
  }
  const size_t header_bytes = net_header_bytes(nic_.features_);
  NetHeader header{};
  std::memcpy(&header, spill_.data(), header_bytes);
  copy_in(header_bytes, spill_.data() + header_bytes, total_bytes - header_bytes);
  waiting_bytes_ = 0;
  deliver(total_bytes, header);
  return Outcome::kDelivered;
}

void ReceiveQueue::deliver(size_t total_bytes, const NetHeader& received) {
  const size_t header_bytes = net_header_bytes(nic_.features_);
  size_t buffers = 0;
  for (uint64_t held = 0; held < total_bytes; buffers++) held += gathered_.at(buffers).writable_bytes();
  NetHeader header = received;
  header.num_buffers = static_cast<uint16_t>(buffers);
  if ((nic_.features_ & VIRTIO_NET_F_GUEST_CSUM) == 0) header.flags = 0;
  copy_in(0, reinterpret_cast<const uint8_t*>(&header), header_bytes);

  size_t left = total_bytes;
  for (; buffers != 0; buffers--) {
    const Chain& chain = gathered_.at(0);
    const size_t written = std::min<uint64_t>(left, chain.writable_bytes());
    left -= written;
    nic_.complete_exact(index_, chain.head, static_cast<uint32_t>(written));
    gathered_.pop_front();
  }
  NicStats::add(nic_.stats_.rx_frames, 1);
  NicStats::add(nic_.stats_.rx_bytes, total_bytes - header_bytes);
}

void ReceiveQueue::copy_in(size_t offset, const uint8_t* from, size_t length) {
  for (size_t position = 0; position < gathered_.count() && length != 0; position++) {
    for (const Segment& segment : gathered_.at(position).writable) {
      const size_t skipped = std::min<size_t>(offset, segment.length);
      offset -= skipped;
      const size_t copied = std::min<size_t>(length, segment.length - skipped);
      // SAFETY: `hva` is guest memory that was translated for `length` bytes when the chain was popped.
      std::memcpy(segment.hva + skipped, from, copied);
      from += copied;
      length -= copied;
    }
  }
  KEMARI_ASSERT(length == 0);
}

void ReceiveQueue::copy_out(uint8_t* to, size_t length) const {
  for (size_t position = 0; position < gathered_.count(); position++) {
    for (const Segment& segment : gathered_.at(position).writable) {
      const size_t copied = std::min<size_t>(length, segment.length);
      // SAFETY: as in copy_in().
      std::memcpy(to, segment.hva, copied);
      to += copied;
      length -= copied;
    }
  }
}

void ReceiveQueue::mark_scribbled() const {
  for (size_t position = 0; position < gathered_.count(); position++) {
    const Chain& chain = gathered_.at(position);
    nic_.queue(index_).landed_in_vain(chain.head, chain.writable, UINT64_MAX);
  }
}

}  // namespace kemari
