// Fuzz target: a block driver's ring of Xen's in the hands of a hostile guest, which owns the ring's page, the pages it
// grants and the time between any two steps; and what of it travels in a checkpoint, in the hands of a hostile peer.
#include "ring/xen/blkif_queue.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <vector>

#include "error.h"
#include "grants.h"
#include "input.h"

namespace kemari::fuzz {
namespace {

using namespace kemari::xen;

constexpr uint32_t kEntries = 32;
constexpr size_t kHeadBytes = sizeof(SharedRingHead);

struct Pending {
  Chain chain;
  uint32_t number = UINT32_MAX;  // in the order of the ring; UINT32_MAX: of another host's life of it
  bool is_kept = false;          // carried out, and not answered
};

// A queue and the device behind it.
class Device {
 public:
  Device(Grants& grants, std::span<uint8_t> ring) : queue(grants) {
    queue.attach(ring);
    queue.set_size(kEntries);
  }

  void pop() {
    Pending request;
    const PopResult result = queue.pop(request.chain);
    if (result == PopResult::kBroken) KEMARI_ASSERT(!queue.fault().empty());
    if (result != PopResult::kChain) return;
    KEMARI_ASSERT(request.chain.head < kEntries);
    check_segments(request.chain);
    request.number = popped_++;
    pending.push_back(std::move(request));
    KEMARI_ASSERT(pending.size() <= kEntries);
  }

  // Of what nothing was done with.
  void unpop() {
    if (pending.empty() || pending.back().is_kept || pending.back().number + 1 != popped_) return;
    queue.unpop(1);
    pending.pop_back();
    popped_--;
  }

  // Carries one out, as the input likes.
  void land(Input& input) {
    if (pending.empty()) return;
    Pending& request = pending[input.byte() % pending.size()];
    if (request.is_kept) return;
    request.is_kept = true;
    const std::vector<Segment>& writable = request.chain.writable;
    for (const Segment& segment : writable) std::memset(segment.hva, input.byte(), segment.length);
    KEMARI_ASSERT(!writable.empty() && writable.back().length == 1);
    *writable.back().hva = input.byte() % 4;
    queue.landed(request.chain.head, writable, UINT64_MAX);
  }

  void answer(Input& input) {
    const auto kept = std::ranges::find_if(pending, [](const Pending& request) { return request.is_kept; });
    if (kept == pending.end()) return;
    const uint16_t before = queue.used_index();
    queue.push_used(kept->chain.head, input.byte());
    KEMARI_ASSERT(queue.used_index() == static_cast<uint16_t>(before + 1));
    pending.erase(kept);
  }

  BlkifQueue queue;
  std::deque<Pending> pending;

 private:
  uint32_t popped_ = 1;

  static void check_segments(const Chain& chain) {
    uint64_t bytes = 0;
    volatile uint8_t sink = 0;
    const auto check = [&](const Segment& segment) {
      KEMARI_ASSERT(segment.length > 0);
      sink = segment.hva[0];
      sink = segment.hva[segment.length - 1];
      bytes += segment.length;
    };
    KEMARI_ASSERT(!chain.readable.empty() && !chain.writable.empty());
    for (const Segment& segment : chain.readable) check(segment);
    for (const Segment& segment : chain.writable) check(segment);
    KEMARI_ASSERT(bytes <= RequestQueue::kMaxChainBytes);
  }
};

// The guest, and the page that it shares.
struct Guest {
  alignas(kPageBytes) std::array<uint8_t, kPageBytes> ring{};
  Grants grants;

  template <typename T>
  void poke(size_t offset, T value) {
    std::memcpy(ring.data() + offset, &value, sizeof value);
  }
  uint32_t req_prod() const {
    uint32_t value;
    std::memcpy(&value, ring.data(), sizeof value);
    return value;
  }

  static blkif_request_segment segment(Input& input) {
    const uint8_t shape = input.byte();
    const uint8_t first = (shape & 0x38) == 0x38 ? input.byte() : shape >> 3 & 3;
    const uint8_t last = (shape & 0xc0) == 0xc0 ? input.byte() : static_cast<uint8_t>(first + (shape >> 6));
    return {(shape & 7) == 7 ? input.take<uint32_t>() : shape & 3u, first, last, 0};
  }

  // A request as a driver makes it; each number in it the input's, mostly small.
  void offer(Input& input) {
    const uint8_t shape = input.byte();
    const uint32_t index = req_prod();
    uint8_t* entry = ring.data() + kHeadBytes + index % kEntries * kBlkifEntryBytes;
    const uint8_t operation = (shape & 7) == 7 ? input.byte() : std::array<uint8_t, 7>{0, 1, 3, 5, 6, 0, 1}[shape & 7];
    if (operation == BLKIF_OP_DISCARD) {
      blkif_request_discard request{operation, static_cast<uint8_t>(shape >> 6), 0, input.byte(), input.byte(), 0};
      request.nr_sectors = (shape & 8) != 0 ? input.take<uint64_t>() : input.word();
      std::memcpy(entry, &request, sizeof request);
    } else if (operation == BLKIF_OP_INDIRECT) {
      blkif_request_indirect request{};
      request.operation = operation;
      request.indirect_op = (shape & 8) != 0 ? input.byte() : shape >> 4 & 1;
      request.nr_segments = (shape & 0xc0) == 0xc0 ? input.word() : input.byte();
      request.id = input.byte();
      request.sector_number = input.word();
      request.indirect_grefs[0] = input.byte() % (kGrants + 1);
      std::memcpy(entry, &request, sizeof request);
    } else {
      blkif_request request{};
      request.operation = operation;
      request.nr_segments = (shape & 8) != 0 ? input.byte() : shape >> 4 & 7;
      request.id = input.byte();
      request.sector_number = (shape & 0x80) != 0 ? input.take<uint64_t>() : input.byte();
      const size_t known = std::min<size_t>(request.nr_segments, BLKIF_MAX_SEGMENTS_PER_REQUEST);
      for (size_t i = 0; i < known; i++) request.seg[i] = segment(input);
      std::memcpy(entry, &request, sizeof request);
    }
    poke(offsetof(SharedRingHead, req_prod), index + 1);
  }

  void write_table(Input& input) {
    uint8_t* page = grants.pages[input.byte() % kGrants].data();
    const size_t count = input.byte();
    for (size_t i = 0; i < count && !input.empty(); i++) {
      const blkif_request_segment one = segment(input);
      std::memcpy(page + i * sizeof one, &one, sizeof one);
    }
  }
};

RequestKind kind_of(const Chain& chain) {
  virtio_blk_outhdr header;
  KEMARI_ASSERT(chain.readable[0].length == sizeof header);
  std::memcpy(&header, chain.readable[0].hva, sizeof header);
  switch (header.type) {
    case VIRTIO_BLK_T_IN:
      return RequestKind::kDiskRead;
    case VIRTIO_BLK_T_OUT:
      return RequestKind::kDiskWrite;
    case VIRTIO_BLK_T_FLUSH:
      return RequestKind::kDiskFlush;
    default:
      return RequestKind::kDiskDiscard;
  }
}

// Takes what is pending to another host, whose peer may lie; the guest has had the ring all the while.
bool move(Device& from, Device& to, bool guest_is_honest, Input& input) {
  const uint16_t base = from.queue.last_available_index();
  bool is_honest = guest_is_honest;
  std::deque<Pending> pending;
  try {
    to.queue.set_addresses({});
    to.queue.set_base(base);
    for (Pending& request : from.pending) {
      if (request.is_kept) {
        CutQueue::Kept kept{.head = request.chain.head};
        from.queue.describe_kept(kept);
        if (input.byte() >= 0xf0) is_honest = false, kept.head = input.word();
        to.queue.adopt_kept(kept);
        request.chain.head = kept.head;
        request.number = UINT32_MAX;
        pending.push_back(std::move(request));
        continue;
      }
      CutRequest cut;
      cut.head = request.chain.head;
      cut.kind = kind_of(request.chain);
      from.queue.describe(cut.head, request.chain.writable, cut);
      switch (input.byte()) {
        case 0xfc:  // forgets it
          is_honest = false;
          continue;
        case 0xff:
          is_honest = false;
          cut.head = input.word();
          break;
        case 0xfe:
          is_honest = false;
          cut.kind = static_cast<RequestKind>(input.byte());
          break;
        case 0xfd:
          is_honest = false;
          cut.writable.push_back({input.take<uint64_t>(), input.word()});
          break;
        default:
          break;
      }
      Pending moved;
      moved.chain.head = cut.head;
      moved.chain.writable = to.queue.adopt(cut);
      CutRequest again;
      to.queue.describe(cut.head, moved.chain.writable, again);
      KEMARI_ASSERT(again.token == cut.token && again.writable == cut.writable);
      pending.push_back(std::move(moved));
    }
    to.queue.start();
    const auto outstanding = static_cast<uint16_t>(to.queue.last_available_index() - to.queue.used_index());
    KEMARI_ASSERT(outstanding == pending.size());
  } catch (const Error& error) {
    KEMARI_ASSERT(error.code() == "KEMARI_RING_STATE" && !is_honest);
    return false;
  }
  to.pending = std::move(pending);
  return true;
}

void run(Input input) {
  static Guest guest;
  guest.ring.fill(0);
  for (auto& page : guest.grants.pages) page.fill(0);
  Device first(guest.grants, guest.ring);
  Device second(guest.grants, guest.ring);
  Device* device = &first;
  first.queue.set_addresses({});
  first.queue.set_base(0);
  first.queue.start();
  bool is_honest = true;  // what the back-end wrote into the ring is there
  while (!input.empty()) {
    const uint8_t operation = input.byte();
    switch (operation % 12) {
      case 0:
      case 1:
      case 2:
        guest.offer(input);
        break;
      case 3:
        guest.write_table(input);
        break;
      case 4: {  // anything, anywhere in the ring
        is_honest = false;
        const auto bytes = input.take_bytes(1 + operation / 12);
        const size_t at = input.word() % (kPageBytes - bytes.size());
        std::copy(bytes.begin(), bytes.end(), guest.ring.begin() + static_cast<ptrdiff_t>(at));
        break;
      }
      case 5:
      case 6:
        device->pop();
        break;
      case 7:
        device->land(input);
        break;
      case 8:
        device->answer(input);
        break;
      case 9:
        device->queue.publish();
        break;
      case 10:
        device->unpop();
        break;
      default:
        device->queue.set_kicks_wanted((operation & 0x80) != 0);
        static_cast<void>(device->queue.offered());
        static_cast<void>(device->queue.arm_kicks());
        if (device != &first || operation < 0xe0) break;
        device->queue.publish();  // as before every cut
        if (!move(first, second, is_honest, input)) return;
        device = &second;
    }
  }
  device->queue.publish();
  device->queue.stop();
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
