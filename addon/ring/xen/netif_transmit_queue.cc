#include "ring/xen/netif_transmit_queue.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "error.h"
#include "ring/net/transport_header.h"

namespace kemari::xen {

namespace {

// virtio 1.2 section 5.1.6.
constexpr uint8_t kNeedsCsum = 1;
constexpr uint8_t kGsoTcpV4 = 1;
constexpr uint8_t kGsoTcpV6 = 4;

}  // namespace

void NetifTransmitQueue::set_base(uint16_t last_available_index) {
  NetifQueue::set_base(last_available_index);
  for (Frame& frame : frames_) {
    if (frame.is_taken) release(frame);
  }
  staged_.clear();
  frames_.resize(size());
  free_.clear();
  for (uint16_t head = size(); head > 0; head--) free_.push_back(static_cast<uint16_t>(head - 1));
}

// What nobody has seen is read again after the next start.
uint16_t NetifTransmitQueue::stop() noexcept {
  for (const uint16_t head : staged_) {
    ring().unpop(frames_[head].slots());
    release(frames_[head]);
    free_.push_back(head);
  }
  staged_.clear();
  return NetifQueue::stop();
}

uint16_t NetifTransmitQueue::take_frame() {
  KEMARI_ASSERT(!free_.empty());  // each takes an entry of the ring at least
  const uint16_t head = free_.back();
  free_.pop_back();
  Frame& frame = frames_[head];
  frame.is_taken = true;
  frame.is_refused = false;
  frame.extras = frame.total_bytes = 0;
  frame.segmentation.reset();
  frame.header = {};
  return head;
}

void NetifTransmitQueue::release(Frame& frame) noexcept {
  for (const Piece& piece : frame.pieces) pages_.give_back(piece.page);
  frame.pieces.clear();
  frame.is_taken = false;
}

PopResult NetifTransmitQueue::pop(Chain& chain) {
  if (staged_.empty()) {
    const PopResult result = stage();
    if (result != PopResult::kChain) return result;
  }
  chain.head = staged_.front();
  staged_.pop_front();
  Frame& frame = frames_[chain.head];
  chain.readable.clear();
  chain.writable.clear();
  // SAFETY: trivially copyable; bytes of it are what the device reads.
  chain.readable.push_back({reinterpret_cast<uint8_t*>(&frame.header), sizeof frame.header});
  if (frame.is_refused) return PopResult::kChain;  // no frame is that short: the device drops it
  for (const Piece& piece : frame.pieces) {
    if (piece.length != 0) chain.readable.push_back({pages_.at(piece.page), piece.length});
  }
  return PopResult::kChain;
}

PopResult NetifTransmitQueue::stage() {
  copies_.clear();
  PopResult result = PopResult::kChain;
  for (uint32_t slots = 0; slots < kBatchSlots;) {
    const uint32_t index = ring().req_cons();
    netif_tx_request first;
    result = pop_entry(&first);
    if (result != PopResult::kChain) break;
    const uint16_t head = take_frame();
    Frame& frame = frames_[head];
    frame.index = index;
    const size_t copies = copies_.size();
    result = read_frame(frame, first);
    if (result != PopResult::kChain) {
      ring().unpop(ring().req_cons() - index);
      copies_.resize(copies);
      release(frame);
      free_.push_back(head);
      break;
    }
    slots += frame.slots();
    staged_.push_back(head);
  }
  if (staged_.empty()) return result;
  grants_.copy(copies_, GrantCopier::Direction::kIn);
  auto copy = copies_.begin();
  for (const uint16_t head : staged_) {
    const auto first = copy;
    for (const Piece& piece : frames_[head].pieces) copy += piece.length != 0 ? 1 : 0;
    finish(frames_[head], std::all_of(first, copy, [](const GrantCopy& one) { return one.is_done; }));
  }
  return PopResult::kChain;
}

// kBroken leaves what was read to the caller.
PopResult NetifTransmitQueue::read_frame(Frame& frame, const netif_tx_request& first) {
  frame.flags = first.flags;
  frame.total_bytes = first.size;
  if ((first.flags & XEN_NETTXF_extra_info) != 0 && read_extras(frame) != PopResult::kChain) return PopResult::kBroken;
  return read_pieces(frame, first);
}

// A driver offers whole frames.
PopResult NetifTransmitQueue::next_entry(const Frame& frame, void* entry) {
  if (ring().req_cons() - frame.index == kMaxFrameSlots) {
    return break_queue("a frame takes more than " + std::to_string(kMaxFrameSlots) + " entries");
  }
  const PopResult result = pop_entry(entry);
  return result == PopResult::kEmpty ? break_queue("a frame ends with the ring, in its middle") : result;
}

PopResult NetifTransmitQueue::read_extras(Frame& frame) {
  bool is_more = true;
  while (is_more) {
    // Each entry is as long as a request.
    std::array<uint8_t, kNetifTxEntryBytes> entry;
    const PopResult result = next_entry(frame, entry.data());
    if (result != PopResult::kChain) return result;
    netif_extra_info extra;
    std::memcpy(&extra, entry.data(), sizeof extra);
    frame.extras++;
    if (extra.type == 0 || extra.type >= XEN_NETIF_EXTRA_TYPE_MAX) {
      return break_queue("extra info of type " + std::to_string(extra.type));
    }
    // We offer no other.
    if (extra.type == XEN_NETIF_EXTRA_TYPE_GSO) {
      frame.segmentation = extra;
    } else {
      frame.is_refused = true;
    }
    is_more = (extra.flags & XEN_NETIF_EXTRA_FLAG_MORE) != 0;
  }
  return PopResult::kChain;
}

// The first request says how long the frame is, the others how long they are.
PopResult NetifTransmitQueue::read_pieces(Frame& frame, netif_tx_request request) {
  const netif_tx_request first = request;
  others_.clear();
  uint32_t rest = first.size;
  while ((request.flags & XEN_NETTXF_more_data) != 0) {
    const PopResult result = next_entry(frame, &request);
    if (result != PopResult::kChain) return result;
    if (request.size > rest) return break_queue("a frame's pieces are longer than the frame");
    rest -= request.size;
    others_.push_back(request);
  }
  PopResult result = add_piece(frame, first, rest);
  for (size_t i = 0; i < others_.size() && result == PopResult::kChain; i++) {
    result = add_piece(frame, others_[i], others_[i].size);
  }
  return result;
}

PopResult NetifTransmitQueue::add_piece(Frame& frame, const netif_tx_request& request, uint32_t length) {
  if (uint32_t{request.offset} + length > kPageBytes) {
    return break_queue("a piece of a frame reaches over its page's end, to " +
                       std::to_string(uint32_t{request.offset} + length));
  }
  const uint16_t page = pages_.take();
  frame.pieces.push_back({request.id, page, static_cast<uint16_t>(length)});
  if (length != 0) {
    copies_.push_back({{request.gref, request.offset, static_cast<uint16_t>(length)}, pages_.at(page)});
  }
  return PopResult::kChain;
}

void NetifTransmitQueue::finish(Frame& frame, bool is_copied) {
  if (!is_copied || frame.total_bytes < kMinFrameBytes || !make_header(frame)) frame.is_refused = true;
}

bool NetifTransmitQueue::make_header(Frame& frame) const {
  if ((frame.flags & XEN_NETTXF_csum_blank) == 0) return !frame.segmentation;  // a segment has a checksum to complete
  std::array<uint8_t, kMaxHeaderBytes> start;
  size_t copied = 0;
  for (const Piece& piece : frame.pieces) {
    const size_t count = std::min<size_t>(piece.length, start.size() - copied);
    std::copy_n(pages_.at(piece.page), count, start.begin() + static_cast<ptrdiff_t>(copied));
    copied += count;
  }
  const std::optional<TransportHeader> transport = find_transport_header({start.data(), copied});
  if (!transport) return false;
  frame.header.flags = kNeedsCsum;
  frame.header.csum_start = transport->start;
  frame.header.csum_offset = transport->checksum_offset;
  if (!frame.segmentation) return true;
  const netif_extra_info& gso = *frame.segmentation;
  const uint8_t expected = transport->is_ipv6 ? XEN_NETIF_GSO_TYPE_TCPV6 : XEN_NETIF_GSO_TYPE_TCPV4;
  if (!transport->is_tcp || gso.gso_type != expected || gso.gso_size == 0) return false;
  frame.header.gso_type = transport->is_ipv6 ? kGsoTcpV6 : kGsoTcpV4;
  frame.header.gso_size = gso.gso_size;
  frame.header.hdr_len = transport->end;
  return true;
}

void NetifTransmitQueue::unpop(uint16_t count) noexcept {
  for (; count > 0; count--) {
    const uint32_t end = ring().req_cons();
    Frame* newest = nullptr;
    for (Frame& frame : frames_) {
      const bool is_popped =
          frame.is_taken && std::ranges::find(staged_, static_cast<uint16_t>(&frame - frames_.data())) == staged_.end();
      if (is_popped && (newest == nullptr || end - frame.index < end - newest->index)) newest = &frame;
    }
    KEMARI_ASSERT(newest != nullptr);
    staged_.push_front(static_cast<uint16_t>(newest - frames_.data()));
  }
}

void NetifTransmitQueue::push_used(uint16_t head, uint32_t) noexcept {
  Frame& frame = frames_[head];
  const int16_t status = frame.is_refused ? XEN_NETIF_RSP_ERROR : XEN_NETIF_RSP_OKAY;
  uint32_t extras = frame.extras;
  for (const Piece& piece : frame.pieces) {
    const netif_tx_response answer{piece.id, status};
    ring().push(&answer, sizeof answer);
    for (; extras > 0; extras--) {
      const netif_tx_response nothing{0, XEN_NETIF_RSP_NULL};
      ring().push(&nothing, sizeof nothing);
    }
  }
  release(frame);
  free_.push_back(head);
}

}  // namespace kemari::xen
