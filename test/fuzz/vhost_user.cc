// Fuzz target: the vhost-user back-end against a front-end and a guest that the input plays. The device behind it is
// trivial: it answers every chain, some at once, some a turn later, some through the output gate.
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "world.h"

namespace kemari::fuzz {
namespace {

constexpr uint32_t kQueues = 2;
class TrivialDevice final : public RingDevice {
 public:
  explicit TrivialDevice(Options options) : RingDevice(std::move(options)) {}
  ~TrivialDevice() override { stop(); }

 private:
  struct Request {
    Chain chain;
    Outbound outbound{};
  };

  uint64_t device_features() const override { return 0xff; }
  uint32_t queue_count() const override { return kQueues; }
  std::span<const uint8_t> config() const override { return config_; }
  bool set_config(uint32_t offset, std::span<const uint8_t> bytes) override {
    if (offset > config_.size() || bytes.size() > config_.size() - offset) return false;
    std::copy(bytes.begin(), bytes.end(), config_.begin() + offset);
    return true;
  }
  void features_acked(uint64_t) override {}
  void memory_changed() override {}
  void queue_started(uint32_t index) override { queue_kicked(index); }
  void queue_kicked(uint32_t index) override {
    for (;;) {
      auto request = std::make_unique<Request>();
      if (pop(index, request->chain) != PopResult::kChain) break;
      take(index, std::move(request));
    }
    notify(index);
  }
  void take(uint32_t index, std::unique_ptr<Request> request) {
    switch (request->chain.head % 3) {
      case 0:
        return finish(index, *request);
      case 1:
        later_[index].push_back(std::move(request));
        return loop().post([this, index] { finish_later(index); });
      default:
        request->outbound.kind = OutboundKind::kDiskWrite;
        request->outbound.queue = index;
        request->outbound.head = request->chain.head;
        for (const Segment& segment : request->chain.readable) {
          request->outbound.bytes.push_back({segment.hva, segment.length});
        }
        if (lane().admit(request->outbound)) return finish(index, *request);
        held_[index].push_back(std::move(request));
    }
  }
  void finish(uint32_t index, Request& request) {
    for (const Segment& segment : request.chain.writable) std::memset(segment.hva, 0x5a, segment.length);
    if (request.outbound.sequence != 0) lane().done(request.outbound);
    complete(index, request.chain.head, static_cast<uint32_t>(request.chain.writable_bytes()));
  }
  void finish_later(uint32_t index) {
    auto& requests = later_[index];
    if (requests.empty()) return;
    while (!requests.empty()) {
      finish(index, *requests.front());
      requests.pop_front();
    }
    notify(index);
  }
  void queue_stopping(uint32_t) override {}
  uint32_t in_flight(uint32_t index) const override { return static_cast<uint32_t>(later_[index].size()); }
  void abandon_held(uint32_t index) override {
    for (const auto& request : held_[index]) lane().drop(request->outbound);
    held_[index].clear();
  }
  void lane_released() override {
    while (Outbound* released = lane().next_released()) {
      for (uint32_t index = 0; index < kQueues; ++index) {
        auto& requests = held_[index];
        const auto it = std::find_if(requests.begin(), requests.end(),
                                     [released](const auto& request) { return &request->outbound == released; });
        if (it == requests.end()) continue;
        finish(index, **it);
        requests.erase(it);
        notify(index);
        break;
      }
    }
  }
  // No checkpoint is taken or put in place here; ring_state.cc does that.
  RingDeviceKind kind() const override { return RingDeviceKind::kDisk; }
  std::vector<DeviceRequest> requests_to_cut() override { return {}; }
  void submit_again(uint32_t, const CutRequest&, const std::vector<Segment>&) override { KEMARI_ASSERT(false); }

  std::vector<uint8_t> config_ = std::vector<uint8_t>(32);
  std::deque<std::unique_ptr<Request>> later_[kQueues];
  std::deque<std::unique_ptr<Request>> held_[kQueues];
};

std::vector<uint8_t> payload_of(Input& input, uint8_t shape) {
  const uint32_t index = shape >> 6;
  switch (shape & 15) {
    case 0:
      return pack(index, uint32_t{input.word()});
    case 1:
      return pack(uint64_t{index} | (uint64_t{input.byte() & 1u} << 8));
    case 2:
      return queue_addresses(index);
    case 3:
      return memory_table();
    case 4: {  // a region, nearly as it should be
      const bool high = (shape & 16) != 0;
      return pack(uint64_t{0}, high ? kHighGpa : uint64_t{input.byte() & 1u}, uint64_t{kHalfBytes} + (input.byte() & 1),
                  kFrontEndBase + (high ? kHighGpa : 0), high ? kHalfBytes : uint64_t{0});
    }
    case 5:
      return pack(uint64_t{input.word()}, uint64_t{0}, uint16_t{input.byte()}, uint16_t{input.byte()}, uint32_t{0});
    case 6:
      return pack(uint32_t{input.byte()}, uint32_t{input.byte()}, uint32_t{0}, uint64_t{0});
    case 7:
      return pack(input.take<uint64_t>());
    case 8: {  // a memory table with one bit turned over
      auto table = memory_table();
      table[input.byte() % table.size()] ^= static_cast<uint8_t>(1 << (input.byte() & 7));
      return table;
    }
    case 9: {
      auto addresses = queue_addresses(index);
      addresses[input.byte() % addresses.size()] ^= static_cast<uint8_t>(1 << (input.byte() & 7));
      return addresses;
    }
    default: {
      const auto bytes = input.take_bytes(input.byte());
      return {bytes.begin(), bytes.end()};
    }
  }
}

void step(FrontEnd& front_end, RamFile& file, OutputGate& gate, Input& input) {
  const uint8_t operation = input.byte();
  switch (operation & 7) {
    case 0: {
      const auto bytes = input.take_bytes(input.byte());
      return front_end.send(bytes, operation >> 3);
    }
    case 1:
      return write_descriptor(file, input, kDescriptorGpa, input.byte());
    case 2: {  // offer a head
      const uint16_t index = input.word();
      poke(file, kAvailableGpa + 4 + 2 * (index % kQueueSize), uint16_t{input.byte()});
      poke(file, kAvailableGpa + 2, static_cast<uint16_t>(index + 1));
      return front_end.kick();
    }
    case 3:
      return (operation & 8) != 0 ? gate.close() : gate.open();
    default: {
      const uint32_t request = input.byte() % 44;
      const uint8_t shape = input.byte();
      const uint32_t flags = (operation & 16) != 0 ? input.take<uint32_t>() : (operation & 8) != 0 ? 9 : 1;
      const uint8_t descriptors = input.byte() & 31;
      const int32_t size_lie = (operation & 0xe0) == 0xe0 ? static_cast<int8_t>(input.byte()) : 0;
      return front_end.message(request, payload_of(input, shape), descriptors, flags, size_lie);
    }
  }
}

void run(Input input) {
  World world;
  const uint8_t shape = input.byte();
  if ((shape & 2) != 0) world.gate->close();
  TrivialDevice device(world.options((shape & 0xf0) == 0xf0));  // seldom: the kernel takes its time to make one
  device.set_suspend_on_stop((shape & 4) != 0);
  if ((shape & 1) != 0) set_up(world.front_end, 0xff);
  const auto turn = [&] {
    if (input.empty()) return false;
    step(world.front_end, world.ram, *world.gate, input);
    return true;
  };
  world.play(device, turn, [] {});
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
