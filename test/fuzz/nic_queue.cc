// Fuzz target: a whole NIC, from the descriptors that a hostile guest writes to a tap that is a pair of sockets.
// Whatever the guest asks for: what leaves is a frame that it may send, with a header that was checked, and nothing
// leaves while the gate is shut; whatever the tap brings lands in buffers that the guest gave; and the device ends.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "ring/net/nic.h"
#include "world.h"

namespace kemari {
namespace {

// The host's side of the tap that is open.
int host_side = -1;

}  // namespace

// The tap is played: these take the place of those in tap.cc.
Tap::Tap(const Options& options) : name_(options.name) {
  int sockets[2];
  KEMARI_ASSERT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
  queues_.push_back({UniqueFd(sockets[0]), true});
  has_uso_ = true;
  host_side = sockets[1];
}

void Tap::bring_up() {}

void Tap::close() noexcept {
  for (Queue& queue : queues_) queue.fd.reset();
}

void Tap::configure(size_t header_bytes, unsigned offload) {
  header_bytes_ = header_bytes;
  offload_ = offload;
}

void Tap::attach(uint32_t queue, bool attached) {
  queues_[queue].attached = attached;
}

namespace fuzz {
namespace {

constexpr uint64_t kDataGpa = 0xa000;  // of requests that are as they should be
constexpr size_t kMaxIncomingBytes = 4096;
constexpr uint32_t kReceive = 0;
constexpr uint32_t kTransmit = 1;
// By queue: the transmit queue's parts lie behind the receive queue's.
constexpr uint64_t kQueueStride = 0x800;

constexpr uint64_t descriptors_of(uint32_t queue) {
  return kDescriptorGpa + queue * kQueueStride;
}

std::vector<uint8_t> addresses_of(uint32_t queue) {
  const uint64_t behind = kFrontEndBase + queue * kQueueStride;
  return pack(queue, uint32_t{0}, behind + kDescriptorGpa, behind + kUsedGpa, behind + kAvailableGpa, uint64_t{0});
}

struct Guest {
  RamFile& file;
  FrontEnd& front_end;
  OutputGate& gate;
  uint64_t features;
  bool was_open;

  void descriptor(uint32_t queue, uint16_t position, uint64_t address, uint32_t length, uint16_t flags) {
    const uint64_t at = descriptors_of(queue) + 16ull * (position % kQueueSize);
    poke(file, at, address);
    poke(file, at + 8, length);
    poke(file, at + 12, flags);
    poke(file, at + 14, static_cast<uint16_t>((position + 1) % kQueueSize));
  }

  // A frame as a driver makes it: its header, mostly right, and one or two pieces.
  void write_frame(Input& input) {
    constexpr uint16_t kNext = 1;
    const uint8_t shape = input.byte();
    const uint16_t head = input.byte() % kQueueSize;
    const uint64_t at = kDataGpa + 0x200ull * head;
    NetHeader header{};
    header.flags = (shape & 1) != 0 ? input.byte() : 0;
    header.gso_type = (shape & 2) != 0 ? input.byte() & 0x8f : 0;
    if ((shape & 3) != 0) {
      header.hdr_len = input.byte();
      header.gso_size = input.word();
      header.csum_start = input.byte();
      header.csum_offset = input.byte();
    }
    std::memcpy(file.data() + at, &header, sizeof header);
    const auto start = input.take_bytes(input.byte() & 63);
    std::copy(start.begin(), start.end(), file.data() + at + sizeof header);
    const uint32_t length = (shape & 12) == 12 ? input.take<uint32_t>() & 0x1ffff : 14u + input.byte();
    const auto header_bytes = static_cast<uint32_t>(net_header_bytes(features));
    if ((shape & 16) != 0) {  // in one piece
      return descriptor(kTransmit, head, at, header_bytes + length % 0x180, 0);
    }
    descriptor(kTransmit, head, at, (shape & 0xe0) == 0xe0 ? input.byte() : header_bytes, kNext);
    descriptor(kTransmit, head + 1, at + sizeof header, length % 0x180, (shape & 32) != 0 ? kNext : 0);
    descriptor(kTransmit, head + 2, kHighGpa + 0x100ull * input.byte(), length, 0);
  }

  void write_buffer(Input& input) {
    constexpr uint16_t kNext = 1;
    constexpr uint16_t kWritable = 2;
    const uint8_t shape = input.byte();
    const uint32_t length = (shape & 0x40) != 0 ? input.word() : 12u + input.byte();
    const uint16_t flags = kWritable | ((shape & 0x80) != 0 ? kNext : 0);
    descriptor(kReceive, shape & 15, kHighGpa + 0x80ull * input.byte(), length, flags);
  }

  void offer(uint32_t queue, Input& input) {
    const uint16_t index = input.word();
    const uint64_t available = kAvailableGpa + queue * kQueueStride;
    poke(file, available + 4 + 2 * (index % kQueueSize), uint16_t{input.byte()});
    poke(file, available + 2, static_cast<uint16_t>(index + 1));
    front_end.kick();
  }

  void start_queue(uint32_t queue, uint32_t base) {
    front_end.message(8, pack(queue, uint32_t{kQueueSize}), 0);
    front_end.message(10, pack(queue, base), 0);
    front_end.message(9, addresses_of(queue), 0);
    front_end.message(13, pack(uint64_t{queue}), 1);
    front_end.message(12, pack(uint64_t{queue}), 1);
    front_end.message(18, pack(queue, uint32_t{1}), 0);
  }

  void start() {
    front_end.message(2, pack(0x170000000 | features), 0);  // SET_FEATURES: VERSION_1, all that the ring has
    front_end.message(16, pack(uint64_t{0x9009}), 0);       // SET_PROTOCOL_FEATURES
    front_end.message(5, memory_table(), 2 | 16);
    start_queue(kReceive, 0);
    start_queue(kTransmit, 0);
  }

  void step(Input& input) {
    const uint8_t operation = input.byte();
    switch (operation % 10) {
      case 0:
      case 1:
        return write_frame(input);
      case 2:
        return write_buffer(input);
      case 3:
        return write_descriptor(file, input, descriptors_of(operation & 1), input.byte() % kQueueSize);
      case 4:
      case 5:
        return offer(kTransmit, input);
      case 6:
        return offer(kReceive, input);
      case 7:
        if ((operation & 32) == 0) return gate.close();
        was_open = true;
        return gate.open();
      case 8: {  // the network sends
        std::vector<uint8_t> frame(net_header_bytes(features) + input.word() % kMaxIncomingBytes);
        const auto bytes = input.take_bytes(std::min<size_t>(frame.size(), input.byte()));
        std::copy(bytes.begin(), bytes.end(), frame.begin());
        return static_cast<void>(!write(host_side, frame.data(), frame.size()));  // the tap may be full, or gone
      }
      default: {  // the guest's driver starts over, or turns a queue off and on
        const uint32_t queue = operation & 1;
        if ((operation & 32) != 0) return front_end.message(18, pack(queue, uint32_t{(operation & 64) != 0}), 0);
        front_end.message(11, pack(queue, uint32_t{0}), 0);
        return start_queue(queue, (operation & 64) != 0 ? input.byte() : 0);
      }
    }
  }

  // Looks at all that has left since.
  void watch() {
    static std::vector<uint8_t> bytes(sizeof(NetHeader) + kMaxFrameBytes + 1);
    const size_t header_bytes = net_header_bytes(features);
    for (;;) {
      const ssize_t received = recv(host_side, bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (received < 0) return;
      const auto total = static_cast<size_t>(received);
      KEMARI_ASSERT(was_open);
      KEMARI_ASSERT(total >= header_bytes + kMinFrameBytes && total <= header_bytes + kMaxFrameBytes);
      NetHeader header{};
      std::memcpy(&header, bytes.data(), header_bytes);
      const NetHeader before = header;
      KEMARI_ASSERT(check_transmit_header(header, total - header_bytes, 0x100000000 | features));
      KEMARI_ASSERT(std::memcmp(&before, &header, header_bytes) == 0);
    }
  }
};

void run(Input input) {
  World world;
  const uint8_t shape = input.byte();
  const bool was_open = (shape & 1) == 0;
  if (!was_open) world.gate->close();
  Nic nic(world.options(false), {.name = "fuzz", .bridge = "", .queues = 1, .guest_mac = {2, 0, 0, 0, 0, 1}});
  const UniqueFd host(host_side);
  nic.set_suspend_on_stop((shape & 2) != 0);
  constexpr uint64_t kChecksums = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM;
  constexpr uint64_t kSegments = VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_UFO |
                                 VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_HOST_USO;
  const uint64_t features = ((shape & 4) != 0 ? kChecksums : 0) | ((shape & 12) == 12 ? kSegments : 0) |
                            ((shape & 16) != 0 ? VIRTIO_NET_F_MRG_RXBUF : 0);
  Guest guest{world.ram, world.front_end, *world.gate, features, was_open};
  guest.start();
  const auto turn = [&] {
    guest.watch();
    if (input.empty()) return false;
    guest.step(input);
    return true;
  };
  world.play(nic, turn, [&] { guest.was_open = true; });
}

}  // namespace
}  // namespace fuzz
}  // namespace kemari

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
