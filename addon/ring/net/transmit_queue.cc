#include "ring/net/transmit_queue.h"

#include <limits.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "error.h"
#include "evidence/evidence.h"
#include "ring/net/nic.h"

namespace kemari {

void TransmitQueue::start() {
  running_ = true;
  run();
}

void TransmitQueue::stop() {
  running_ = false;
  for (Frame* frame : waiting_) {
    if (!frame->is_answered) answer_unsent(frame);
  }
  complete_left();
}

void TransmitQueue::give_up_waiting() {
  for (Frame* frame : std::exchange(waiting_, {})) {
    NicStats::add(nic_.stats_.dropped, 1);
    frame->is_answered ? recycle(frame) : finish(frame);
  }
}

uint32_t TransmitQueue::in_flight() const noexcept {
  const auto unanswered =
      std::count_if(waiting_.begin(), waiting_.end(), [](const Frame* frame) { return !frame->is_answered; });
  return static_cast<uint32_t>(unanswered) + static_cast<uint32_t>(left_.size());
}

void TransmitQueue::abandon_held() {
  std::vector<Outbound*> ours;
  for (Outbound* request : nic_.lane().held()) {
    if (request->queue == index_) ours.push_back(request);
  }
  for (Outbound* request : ours) {
    nic_.lane().drop(*request);
    recycle(static_cast<Frame*>(request));
  }
  std::erase_if(waiting_, [this](Frame* frame) {
    if (!frame->is_answered) return false;
    recycle(frame);
    return true;
  });
}

TransmitQueue::Frame* TransmitQueue::take() {
  if (free_.empty()) {
    frames_.push_back(std::make_unique<Frame>());
    frames_.back()->kind = OutboundKind::kFrame;
    frames_.back()->owner = this;
    frames_.back()->queue = index_;
    free_.push_back(frames_.back().get());
  }
  Frame* frame = free_.back();
  free_.pop_back();
  return frame;
}

void TransmitQueue::finish(Frame* frame) {
  nic_.complete(index_, frame->head, 0);
  recycle(frame);
}

void TransmitQueue::has_left(Frame* frame) {
  if (!frame->is_answered) {
    left_.push_back(frame->head);
    left_bytes_ += frame->frame_bytes;
  }
  recycle(frame);
}

void TransmitQueue::answer_unsent(Frame* frame) {
  if (!frame->is_frozen) {
    freeze_bytes(*frame, frame->bytes);
    frame->bytes.assign(1, iovec{frame->frozen.get(), frame->frozen_bytes});
  }
  frame->is_answered = true;
  left_.push_back(frame->head);
  left_bytes_ += frame->frame_bytes;
}

void TransmitQueue::complete_left() {
  for (const uint16_t head : left_) nic_.complete(index_, head, 0);
  left_.clear();
  left_bytes_ = 0;
}

void TransmitQueue::complete_left_unless_quiet() {
  if (left_.empty()) return;
  if (left_.size() < kQuietFrames && left_bytes_ < kQuietBytes) return nic_.complete_later();
  complete_left();
}

void TransmitQueue::recycle(Frame* frame) {
  nic_.lane().done(*frame);
  free_.push_back(frame);
}

bool TransmitQueue::parse(Frame& frame) {
  const size_t header_bytes = net_header_bytes(nic_.features_);
  const uint64_t total_bytes = chain_.readable_bytes();
  if (!chain_.writable.empty() || total_bytes < header_bytes) return false;
  if (chain_.readable.size() >= IOV_MAX) return false;  // one vector entry is the header's

  frame.header = {};
  frame.bytes.clear();
  frame.bytes.push_back({&frame.header, header_bytes});
  size_t copied_bytes = 0;
  for (const Segment& segment : chain_.readable) {
    const size_t of_header = std::min<size_t>(header_bytes - copied_bytes, segment.length);
    if (of_header != 0) {
      // SAFETY: `hva` is guest memory, which may change at any time; it is read once here and never again.
      std::memcpy(reinterpret_cast<uint8_t*>(&frame.header) + copied_bytes, segment.hva, of_header);
      copied_bytes += of_header;
    }
    if (of_header < segment.length) frame.bytes.push_back({segment.hva + of_header, segment.length - of_header});
  }
  frame.frame_bytes = total_bytes - header_bytes;
  return check_transmit_header(frame.header, frame.frame_bytes, nic_.features_);
}

void TransmitQueue::run() {
  if (!running_ || !waiting_.empty()) return;
  RequestQueue& queue = nic_.queue(index_);
  queue.set_kicks_wanted(false);
  uint32_t frames = 0;
  uint64_t bytes = 0;
  for (uint32_t batches = 0; batches < kTurnBatches;) {
    if (is_full()) {
      starved_ = true;
      return complete_left();
    }
    const PopResult result = nic_.pop(index_, chain_);
    if (result == PopResult::kBroken) return complete_left();
    if (result == PopResult::kEmpty) {
      queue.set_kicks_wanted(true);
      if (queue.empty()) return complete_left_unless_quiet();
      queue.set_kicks_wanted(false);  // one came in between
      continue;
    }
    frames++;
    bytes += chain_.readable_bytes();
    transmit();
    if (!waiting_.empty()) return complete_left();
    if (frames < kBatchFrames && bytes < kBatchBytes) continue;
    complete_left();
    nic_.notify(index_);
    frames = 0;
    bytes = 0;
    batches++;
  }
  if (posted_) return;
  posted_ = true;
  nic_.loop().post([this] {
    posted_ = false;
    run();
  });
}

void TransmitQueue::transmit() {
  Frame* frame = take();
  frame->head = chain_.head;
  if (!parse(*frame)) {
    NicStats::add(nic_.stats_.dropped, 1);
    finish(frame);
  } else {
    // The first piece after the header: with every driver there is it starts with the frame's own headers.
    if (frame->bytes.size() > 1) {
      // SAFETY: guest memory, which may change at any time; what is learned is said of the guest to its own network.
      const auto* start = static_cast<const uint8_t*>(frame->bytes[1].iov_base);
      nic_.addresses_.learn({start, frame->bytes[1].iov_len});
    }
    if (admit(*frame)) {
      send_or_wait(frame);
    } else {
      answer_unsent(frame);
    }
  }
}

bool TransmitQueue::admit(Frame& frame) {
  const bool passes = nic_.lane().admit(frame);
  // No cut, and with it no release, comes in between: it waits for the device.
  if (evidence_kept()) note_frame(passes, frame.sequence, frame.bytes, net_header_bytes(nic_.features_));
  return passes;
}

bool TransmitQueue::is_full() const noexcept {
  return nic_.lane().outstanding_bytes() >= kMaxHeldBytes || nic_.lane().held().size() >= kMaxHeldFrames;
}

void TransmitQueue::released(Outbound& request) {
  Frame& frame = static_cast<Frame&>(request);
  frame.owner->send_or_wait(&frame);
}

void TransmitQueue::run_if_starved() {
  if (!is_full() && std::exchange(starved_, false)) run();
}

void TransmitQueue::add_to_cut(std::vector<DeviceRequest>& requests) {
  KEMARI_ASSERT(left_.empty());  // a stopped queue has completed them
  for (Frame* frame : waiting_) {
    if (frame->is_answered) continue;
    if (!frame->is_frozen) freeze_bytes(*frame, frame->bytes);
    requests.push_back({.queue = index_,
                        .head = frame->head,
                        .kind = RequestKind::kFrame,
                        .place = RequestPlace::kInFlight,
                        .sequence = frame->sequence,
                        .bytes = {frame->frozen.get(), frame->frozen_bytes},
                        .shared = frozen_of(*frame, nic_.memory())});
  }
}

void TransmitQueue::add_answered(std::vector<CutAnswered>& answered) {
  const auto add = [&](const Frame& frame) {
    answered.push_back(
        {index_, frame.sequence, {frame.frozen.get(), frame.frozen_bytes}, frozen_of(frame, nic_.memory())});
  };
  for (const Frame* frame : waiting_) {
    if (frame->is_answered) add(*frame);
  }
  for (const Outbound* request : nic_.lane().held()) {
    if (request->queue == index_) add(static_cast<const Frame&>(*request));
  }
}

TransmitQueue::Frame* TransmitQueue::make_frame(std::span<const uint8_t> bytes) {
  const size_t header_bytes = net_header_bytes(nic_.features_);
  if (bytes.size() < header_bytes) return nullptr;
  NetHeader header{};
  std::memcpy(&header, bytes.data(), header_bytes);
  const size_t frame_bytes = bytes.size() - header_bytes;
  if (!check_transmit_header(header, frame_bytes, nic_.features_)) return nullptr;
  Frame* frame = take();
  frame->header = header;
  frame->frame_bytes = frame_bytes;
  // SAFETY: only read from; iovec has no const form.
  const iovec payload{const_cast<uint8_t*>(bytes.data()) + header_bytes, frame_bytes};
  freeze_bytes(*frame, std::array{iovec{&frame->header, header_bytes}, payload});
  frame->bytes.assign(1, iovec{frame->frozen.get(), frame->frozen_bytes});
  return frame;
}

void TransmitQueue::submit_again(const CutRequest& cut) {
  Frame* frame = make_frame(cut.bytes);
  if (frame == nullptr) {
    fail("KEMARI_RING_STATE",
         "a frame of a checkpoint is shorter than its header, or has one that no guest could send");
  }
  frame->head = cut.head;
  if (admit(*frame)) {
    send_or_wait(frame);
  } else {
    answer_unsent(frame);
  }
  complete_left();
}

bool TransmitQueue::submit_answered(std::span<const uint8_t> bytes) {
  Frame* frame = make_frame(bytes);
  if (frame == nullptr) return false;
  frame->is_answered = true;
  if (admit(*frame)) send_or_wait(frame);
  return true;
}

void TransmitQueue::send_or_wait(Frame* frame) {
  if (waiting_.empty() && send(*frame) == Sent::kDone) return has_left(frame);
  waiting_.push_back(frame);
}

TransmitQueue::Sent TransmitQueue::send(Frame& frame) {
  ssize_t result;
  do {
    // It may have passed the gate some time ago.
    if (!nic_.lane().may_submit()) return Sent::kNotNow;
    result = ::writev(nic_.tap_fd(index_), frame.bytes.data(), static_cast<int>(frame.bytes.size()));
  } while (result < 0 && errno == EINTR);
  if (result >= 0) {
    NicStats::add(nic_.stats_.tx_frames, 1);
    NicStats::add(nic_.stats_.tx_bytes, frame.frame_bytes);
    return Sent::kDone;
  }
  if (errno == EAGAIN) return Sent::kNotNow;
  NicStats::add(nic_.stats_.dropped, 1);
  if (errno == EBADFD) nic_.tap_gone(errno);
  return Sent::kDone;
}

void TransmitQueue::tap_writable() {
  if (waiting_.empty()) return;
  send_waiting();
  complete_left();
  run();
}

void TransmitQueue::send_waiting() {
  while (!waiting_.empty() && send(*waiting_.front()) == Sent::kDone) {
    has_left(waiting_.front());
    waiting_.pop_front();
  }
}

}  // namespace kemari
