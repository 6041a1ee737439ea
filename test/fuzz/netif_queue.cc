// Fuzz target: the two rings of a network driver of Xen's in the hands of a hostile guest, which owns the rings' pages,
// the pages it grants and the time between any two steps. Whatever it writes: a frame is one that a driver may send, or
// none at all; what arrives lands in pages that it granted; each entry is answered once, and a stop loses none.
#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "error.h"
#include "grants.h"
#include "input.h"
#include "ring/net/net_header.h"
#include "ring/xen/netif_receive_queue.h"
#include "ring/xen/netif_transmit_queue.h"

namespace kemari::fuzz {
namespace {

using namespace kemari::xen;

constexpr uint32_t kEntries = 256;
constexpr size_t kHeadBytes = sizeof(SharedRingHead);

struct RingPage {
  alignas(kPageBytes) std::array<uint8_t, kPageBytes> bytes{};

  uint32_t req_prod() const {
    uint32_t value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  template <typename Entry>
  void offer(size_t entry_bytes, const Entry& entry) {
    const uint32_t index = req_prod();
    std::memcpy(bytes.data() + kHeadBytes + index % kEntries * entry_bytes, &entry, sizeof entry);
    const uint32_t next = index + 1;
    std::memcpy(bytes.data(), &next, sizeof next);
  }
  // Anything, anywhere.
  void scribble(Input& input, size_t count) {
    const auto written = input.take_bytes(count);
    const size_t at = input.word() % (kPageBytes - written.size());
    std::copy(written.begin(), written.end(), bytes.begin() + static_cast<ptrdiff_t>(at));
  }
};

struct Guest {
  RingPage transmit;
  RingPage receive;
  Grants grants;

  // One entry as a driver makes it; each number in it the input's, mostly small.
  void send(Input& input) {
    const uint8_t shape = input.byte();
    netif_tx_request request{};
    request.gref = (shape & 7) == 7 ? input.take<uint32_t>() : shape & 3u;
    request.offset = (shape & 0x18) == 0x18 ? input.word() : input.byte();
    request.flags = (shape & 0x60) == 0x60 ? input.word() : input.byte() & 15;
    request.id = input.byte();
    request.size = (shape & 0x80) != 0 ? input.word() : input.byte() * 8;
    transmit.offer(kNetifTxEntryBytes, request);
  }
  void send_extra(Input& input) {
    const uint8_t shape = input.byte();
    netif_extra_info extra{};
    extra.type = (shape & 7) == 7 ? input.byte() : 1;
    extra.flags = (shape & 8) != 0 ? 1 : 0;
    extra.gso_size = input.word();
    extra.gso_type = (shape & 0x30) == 0x30 ? input.byte() : 1 + (shape >> 6 & 1);
    transmit.offer(kNetifTxEntryBytes, extra);
  }
  void offer(Input& input) {
    for (uint32_t count = input.byte() % 32; count > 0; count--) {
      const uint8_t shape = input.byte();
      receive.offer(kNetifRxEntryBytes,
                    netif_rx_request{shape, 0, (shape & 7) == 7 ? input.take<uint32_t>() : shape & 3u});
    }
  }
  void write_headers(Input& input) {
    auto& page = grants.pages[input.byte() % kGrants];
    const auto bytes = input.take_bytes(input.byte());
    const size_t at = input.byte();
    std::copy(bytes.begin(), bytes.end(), page.begin() + static_cast<ptrdiff_t>(at));
  }
};

class Device {
 public:
  Device(Guest& guest, bool has_segments)
      : features_(netif_features({true, has_segments, has_segments, has_segments})),
        transmit(guest.grants),
        receive(guest.grants) {
    set_up(transmit, guest.transmit);
    set_up(receive, guest.receive);
  }

  void take_frame() {
    Chain chain;
    const PopResult result = transmit.pop(chain);
    if (result == PopResult::kBroken) KEMARI_ASSERT(!transmit.fault().empty());
    if (result != PopResult::kChain) return;
    KEMARI_ASSERT(chain.head < kEntries && chain.writable.empty() && chain.readable[0].length == sizeof(NetHeader));
    KEMARI_ASSERT(std::ranges::find(frames_, chain.head) == frames_.end());
    frames_.push_back(chain.head);
    if (chain.readable.size() == 1) return;  // refused
    NetHeader header;
    std::memcpy(&header, chain.readable[0].hva, sizeof header);
    KEMARI_ASSERT(check_transmit_header(header, chain.readable_bytes() - sizeof header, features_));
    volatile uint8_t sink = 0;
    for (const Segment& segment : chain.readable) {
      KEMARI_ASSERT(segment.length > 0);
      sink = segment.hva[0];
      sink = segment.hva[segment.length - 1];
    }
    static_cast<void>(sink);
  }
  void put_frame_back() {
    if (frames_.empty()) return;
    transmit.unpop(1);
    frames_.pop_back();
  }
  void answer_frame(Input& input) {
    if (frames_.empty()) return;
    const auto at = frames_.begin() + static_cast<ptrdiff_t>(input.byte() % frames_.size());
    transmit.push_used(*at, 0);
    frames_.erase(at);
  }

  void take_buffers(Input& input) {
    for (uint32_t count = input.byte() % 20; count > 0; count--) {
      Chain chain;
      const PopResult result = receive.pop(chain);
      if (result == PopResult::kBroken) KEMARI_ASSERT(!receive.fault().empty());
      if (result != PopResult::kChain) return;
      KEMARI_ASSERT(chain.head < kEntries && chain.writable.size() == 1 && chain.writable[0].length == kPageBytes);
      std::memset(chain.writable[0].hva, 0x55, kPageBytes);
      buffers_.push_back(chain);
    }
  }
  void put_buffers_back(Input& input) {
    const auto count = static_cast<uint16_t>(buffers_.empty() ? 0 : input.byte() % (buffers_.size() + 1));
    receive.unpop(count);
    buffers_.resize(buffers_.size() - count);
  }
  // A frame in some of the buffers.
  void deliver(Input& input) {
    if (buffers_.empty()) return;
    const uint8_t shape = input.byte();
    const size_t count = 1 + (shape & 15) % std::min<size_t>(buffers_.size(), 16);
    NetHeader header{};
    header.flags = shape >> 4 & 3;
    const bool is_segment = (features_ & VIRTIO_NET_F_GUEST_TSO4) != 0 && (shape & 0x40) != 0;
    header.gso_type = is_segment ? ((shape & 0x80) != 0 ? 4 : 1) : 0;
    header.gso_size = 1000;
    header.num_buffers = static_cast<uint16_t>(count);
    std::memcpy(buffers_.front().writable[0].hva, &header, sizeof header);
    for (size_t i = 0; i < count; i++) {
      const uint32_t least = i == 0 ? sizeof header : 1;
      const uint32_t written = i + 1 < count ? kPageBytes : least + input.word() % (kPageBytes - least);
      receive.landed(buffers_.front().head, buffers_.front().writable, written);
      receive.push_used(buffers_.front().head, written);
      buffers_.pop_front();
    }
    is_unpublished_ = true;
  }
  void publish() {
    transmit.publish();
    if (std::exchange(is_unpublished_, false)) receive.publish();
  }

  // As a machine that stops and goes on: nothing is in the device's hands then. False where it cannot go on.
  bool pause(bool guest_is_honest) {
    for (const uint16_t head : std::exchange(frames_, {})) transmit.push_used(head, 0);
    receive.unpop(static_cast<uint16_t>(buffers_.size()));
    buffers_.clear();
    publish();
    return restart(transmit, guest_is_honest) && restart(receive, guest_is_honest);
  }

 private:
  void set_up(NetifQueue& queue, RingPage& page) const {
    queue.attach(page.bytes);
    queue.set_size(kEntries);
    queue.set_addresses({});
    queue.set_accepted(features_);
    queue.set_base(0);
    queue.start();
  }
  static bool restart(NetifQueue& queue, bool guest_is_honest) {
    const uint16_t base = queue.stop();
    KEMARI_ASSERT(base == queue.used_index());
    try {
      queue.set_base(base);
      queue.start();
      return true;
    } catch (const Error& error) {
      // The guest has written over our index.
      KEMARI_ASSERT(error.code() == "KEMARI_RING_STATE" && !guest_is_honest);
      return false;
    }
  }

  const uint64_t features_;
  std::vector<uint16_t> frames_;  // heads, oldest first
  std::deque<Chain> buffers_;
  bool is_unpublished_ = false;

 public:
  NetifTransmitQueue transmit;
  NetifReceiveQueue receive;
};

void run(Input input) {
  static Guest guest;
  guest.transmit.bytes.fill(0);
  guest.receive.bytes.fill(0);
  for (auto& page : guest.grants.pages) page.fill(0);
  Device device(guest, (input.byte() & 1) != 0);
  bool is_honest = true;  // what the back-end wrote into the rings is there
  while (!input.empty()) {
    const uint8_t operation = input.byte();
    switch (operation % 16) {
      case 0:
      case 1:
      case 2:
        guest.send(input);
        break;
      case 3:
        guest.send_extra(input);
        break;
      case 4:
        guest.offer(input);
        break;
      case 5:
        guest.write_headers(input);
        break;
      case 6:
        is_honest = false;
        ((operation & 0x10) != 0 ? guest.transmit : guest.receive).scribble(input, 1 + operation / 16);
        break;
      case 7:
      case 8:
        device.take_frame();
        break;
      case 9:
        device.answer_frame(input);
        break;
      case 10:
        device.take_buffers(input);
        break;
      case 11:
        device.deliver(input);
        break;
      case 12:
        if ((operation & 0x10) != 0) {
          device.put_buffers_back(input);
        } else {
          device.put_frame_back();
        }
        break;
      case 13:
        device.publish();
        break;
      case 14: {
        NetifQueue& queue = (operation & 0x10) != 0 ? static_cast<NetifQueue&>(device.transmit) : device.receive;
        queue.set_kicks_wanted((operation & 0x80) != 0);
        static_cast<void>(queue.offered());
        static_cast<void>(queue.arm_kicks());
        break;
      }
      default:
        if (operation >= 0xc0 && !device.pause(is_honest)) return;
    }
  }
  static_cast<void>(device.pause(is_honest));
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
