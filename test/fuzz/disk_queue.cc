// Fuzz target: a whole disk, from the descriptors that a hostile guest writes to a storage that is memory. Whatever the
// guest asks for: the storage sees only what lies on the disk and in guest memory, nothing that would leave while the
// gate is shut, and the device ends.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "ring/disk/disk_device.h"
#include "ring/disk/virtio_blk.h"
#include "world.h"

namespace kemari::fuzz {
namespace {

constexpr uint64_t kDiskBytes = 32 << 10;
constexpr uint64_t kDataGpa = 0xa000;  // of requests that are as they should be
constexpr uint64_t kHeaderBytes = 16;

// How the storage answers, in turn.
enum class Answer : uint8_t { kAtOnce = 0, kLater = 1, kError = 2, kErrorLater = 3 };

class MemoryStorage final : public BlockBackend {
 public:
  MemoryStorage(uint8_t shape, const bool& was_open) : was_open_(was_open), bytes_(kDiskBytes) {
    geometry_.size_bytes = kDiskBytes;
    geometry_.logical_block_bytes = (shape & 1) != 0 ? 4096 : 512;
    geometry_.read_only = (shape & 2) != 0;
    geometry_.can_discard = geometry_.can_write_zeroes = (shape & 4) != 0;
    answers_ = shape >> 4;
  }
  const char* engine() const noexcept override { return "memory"; }
  const BlockGeometry& geometry() const noexcept override { return geometry_; }
  void attach(EventLoop& loop, BlockClient& client) override {
    loop_ = &loop;
    client_ = &client;
  }
  void detach() override { KEMARI_ASSERT(in_flight_ == 0); }
  void resume() override {}
  void stepped(BlockRequest&, int) override { KEMARI_ASSERT(false); }
  void withdrawn(BlockRequest&) override { KEMARI_ASSERT(false); }
  void work(BlockRequest&) override { KEMARI_ASSERT(false); }

  void submit(BlockRequest& request) override {
    in_flight_++;
    KEMARI_ASSERT(was_open_ || !request.is_outbound());
    KEMARI_ASSERT(!geometry_.read_only || !request.is_outbound() || request.operation == BlockOperation::kFlush);
    KEMARI_ASSERT(request.offset <= kDiskBytes && request.length <= kDiskBytes - request.offset);
    KEMARI_ASSERT(request.offset % geometry_.logical_block_bytes == 0);
    const auto answer = static_cast<Answer>(answers_ >> (submitted_++ % 2 * 2) & 3);
    const int error = answer == Answer::kError || answer == Answer::kErrorLater ? EIO : 0;
    if (error == 0) carry_out(request);
    if (answer == Answer::kAtOnce || answer == Answer::kError) return finish(request, error);
    loop_->post([this, &request, error] { finish(request, error); });
  }

 private:
  void finish(BlockRequest& request, int error) {
    in_flight_--;
    client_->finished(request, error);
  }

  void carry_out(const BlockRequest& request) {
    uint8_t* at = bytes_.data() + request.offset;
    uint64_t moved = 0;
    for (const iovec& piece : request.data) {
      KEMARI_ASSERT(piece.iov_len <= request.length - moved);
      if (request.operation == BlockOperation::kRead) std::memcpy(piece.iov_base, at + moved, piece.iov_len);
      if (request.operation == BlockOperation::kWrite) std::memcpy(at + moved, piece.iov_base, piece.iov_len);
      moved += piece.iov_len;
    }
    const bool has_data = request.operation == BlockOperation::kRead || request.operation == BlockOperation::kWrite;
    KEMARI_ASSERT(moved == (has_data ? request.length : 0));
    const bool clears =
        request.operation == BlockOperation::kDiscard || request.operation == BlockOperation::kWriteZeroes;
    if (clears) std::fill_n(at, request.length, uint8_t{0});
  }

  const bool& was_open_;
  BlockGeometry geometry_;
  std::vector<uint8_t> bytes_;
  uint32_t answers_;  // two, of two bits each
  uint64_t submitted_ = 0;
  uint64_t in_flight_ = 0;
  EventLoop* loop_ = nullptr;
  BlockClient* client_ = nullptr;
};

void descriptor(RamFile& file, uint16_t position, uint64_t address, uint32_t length, uint16_t flags) {
  const uint64_t at = kDescriptorGpa + 16ull * (position % kQueueSize);
  poke(file, at, address);
  poke(file, at + 8, length);
  poke(file, at + 12, flags);
  poke(file, at + 14, static_cast<uint16_t>((position + 1) % kQueueSize));
}

// A request as a driver makes it: header, data, status; each number in it the input's, mostly small.
void write_request(RamFile& file, Input& input) {
  constexpr uint16_t kNext = 1;
  constexpr uint16_t kWritable = 2;
  const uint8_t shape = input.byte();
  const uint16_t head = input.byte() % kQueueSize;
  const uint64_t header = kDataGpa + 0x200ull * head;
  const uint32_t type = (shape & 7) == 7 ? input.take<uint32_t>() : std::array{0u, 1u, 4u, 8u, 11u, 13u, 1u}[shape & 7];
  poke(file, header, type);
  poke(file, header + 4, uint32_t{0});
  poke(file, header + 8, (shape & 8) != 0 ? input.take<uint64_t>() : uint64_t{input.byte()} % 72);
  const uint16_t data_flags = type == 0 || type == 8 ? kWritable : 0;
  descriptor(file, head, header, (shape & 0xf0) == 0xf0 ? input.byte() : kHeaderBytes, kNext);
  const uint32_t length = (shape & 0x30) == 0x30 ? input.word() : 512u * (input.byte() % 9);
  // Of a discard the data is its ranges, which lie there as whatever was written before.
  descriptor(file, static_cast<uint16_t>(head + 1), kHighGpa + 0x100ull * input.byte(), length, kNext | data_flags);
  descriptor(file, static_cast<uint16_t>(head + 2), header + 0x100, 1, kWritable);
}

void write_range(RamFile& file, Input& input) {
  const uint64_t at = kHalfBytes + 0x100ull * input.byte();  // the high half's place in the file
  poke(file, at, uint64_t{input.byte()});
  poke(file, at + 8, (input.byte() & 1) != 0 ? input.take<uint32_t>() : uint32_t{input.byte()});
  poke(file, at + 12, uint32_t{input.byte()} & 3);
}

void offer(RamFile& file, FrontEnd& front_end, Input& input) {
  const uint16_t index = input.word();
  poke(file, kAvailableGpa + 4 + 2 * (index % kQueueSize), uint16_t{input.byte()});
  poke(file, kAvailableGpa + 2, static_cast<uint16_t>(index + 1));
  front_end.kick();
}

void step(FrontEnd& front_end, RamFile& file, OutputGate& gate, bool& was_open, Input& input) {
  const uint8_t operation = input.byte();
  switch (operation % 8) {
    case 0:
    case 1:
      return write_request(file, input);
    case 2:
      return write_descriptor(file, input, kDescriptorGpa, input.byte() % kQueueSize);
    case 3:
      return write_range(file, input);
    case 4:
    case 5:
      return offer(file, front_end, input);
    case 6:
      if ((operation & 8) == 0) return gate.close();
      was_open = true;
      return gate.open();
    default:  // the guest's driver starts over
      front_end.message(11, pack(uint32_t{0}, uint32_t{0}), 0);
      front_end.message(10, pack(uint32_t{0}, uint32_t{(operation & 8) != 0 ? input.byte() : 0u}), 0);
      front_end.message(9, queue_addresses(0), 0);
      return front_end.message(12, pack(uint64_t{0}), 1);
  }
}

void run(Input input) {
  World world;
  const uint8_t shape = input.byte();
  bool was_open = (shape & 1) == 0;
  if (!was_open) world.gate->close();
  DiskDevice disk(world.options(false), {.queues = 1, .serial = "fuzz"},
                  std::make_unique<MemoryStorage>(input.byte(), was_open));
  disk.set_suspend_on_stop((shape & 2) != 0);
  constexpr uint64_t kAlways = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_TOPOLOGY;
  set_up(world.front_end, kAlways | ((shape & 4) != 0 ? VIRTIO_BLK_F_FLUSH : 0));
  const auto turn = [&] {
    if (input.empty()) return false;
    step(world.front_end, world.ram, *world.gate, was_open, input);
    return true;
  };
  world.play(disk, turn, [&] { was_open = true; });
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
