// Fuzz target: a split virtqueue whose whole memory the input controls, also between the device's steps.
#include "ring/split_queue.h"

#include <deque>

#include "guest.h"

namespace kemari::fuzz {
namespace {

struct Guest {
  UniqueFd fd = make_ram_fd();
  std::shared_ptr<RamFile> file = RamFile::map(fd.get());
  GuestMemory memory;
  Guest() { memory.set(two_regions(file)); }
};

void check_segments(const Guest& guest, const Chain& chain) {
  uint64_t bytes = 0;
  volatile uint8_t sink = 0;
  const auto check = [&](const Segment& segment) {
    KEMARI_ASSERT(segment.length > 0);
    KEMARI_ASSERT(segment.hva >= guest.file->data());
    KEMARI_ASSERT(segment.hva + segment.length <= guest.file->data() + guest.file->size_bytes());
    sink = segment.hva[0];
    sink = segment.hva[segment.length - 1];
    bytes += segment.length;
  };
  for (const Segment& segment : chain.readable) check(segment);
  for (const Segment& segment : chain.writable) check(segment);
  KEMARI_ASSERT(chain.readable.size() + chain.writable.size() <= SplitQueue::kMaxChainSegments);
  KEMARI_ASSERT(bytes <= SplitQueue::kMaxChainBytes);
  KEMARI_ASSERT(bytes == chain.readable_bytes() + chain.writable_bytes());
}

void set_up(SplitQueue& queue, Input& input) {
  const uint8_t shape = input.byte();
  queue.set_features((shape & 1) != 0, (shape & 2) != 0);
  queue.set_size((shape & 4) != 0 ? input.word() : 1u << (input.byte() % 7));
  if ((shape & 8) != 0) {
    queue.set_addresses({input.take<uint64_t>(), input.take<uint64_t>(), input.take<uint64_t>()});
  } else {
    queue.set_addresses({kFrontEndBase + kDescriptorGpa, kFrontEndBase + kAvailableGpa, kFrontEndBase + kUsedGpa});
  }
  queue.set_base((shape & 16) != 0 ? input.word() : 0);
  queue.start();
}

void step(Guest& guest, SplitQueue& queue, std::deque<uint16_t>& popped, Input& input) {
  const uint8_t operation = input.byte();
  switch (operation % 10) {
    case 0:
      return write_descriptor(*guest.file, input, kDescriptorGpa, input.byte());
    case 1:
      return write_descriptor(*guest.file, input, kTableGpa, input.byte());
    case 2: {  // offer a head
      const uint16_t index = input.word();
      poke(*guest.file, kAvailableGpa + 4 + 2 * (index % std::max<uint16_t>(queue.size(), 1)), input.word());
      return poke(*guest.file, kAvailableGpa + 2, static_cast<uint16_t>(index + 1));
    }
    case 3:  // an indirect descriptor, mostly well formed
      poke(*guest.file, kDescriptorGpa + 16 * (operation / 10), kTableGpa + 16ull * input.byte());
      poke(*guest.file, kDescriptorGpa + 16 * (operation / 10) + 8, 16u * input.byte());
      return poke(*guest.file, kDescriptorGpa + 16 * (operation / 10) + 12, static_cast<uint16_t>(4 | input.byte()));
    case 4:
    case 5: {
      Chain chain;
      const PopResult result = queue.pop(chain);
      if (result == PopResult::kBroken) KEMARI_ASSERT(!queue.fault().empty());
      if (result != PopResult::kChain) return;
      KEMARI_ASSERT(chain.head < queue.size());
      check_segments(guest, chain);
      return popped.push_back(chain.head);
    }
    case 6: {
      if (popped.empty()) return;
      const uint16_t before = queue.used_index();
      queue.push_used(popped.front(), input.take<uint32_t>());
      KEMARI_ASSERT(queue.used_index() == static_cast<uint16_t>(before + 1));
      return popped.pop_front();
    }
    case 7:
      queue.publish();
      return;
    case 8: {
      if (popped.empty()) return;
      const uint16_t position = queue.last_available_index();
      queue.unpop(1);
      KEMARI_ASSERT(queue.last_available_index() == static_cast<uint16_t>(position - 1));
      return popped.pop_back();
    }
    default:
      queue.set_kicks_wanted((operation & 0x80) != 0);
      static_cast<void>(queue.offered());
      static_cast<void>(queue.arm_kicks());
  }
}

void run(Input input) {
  static Guest guest;
  std::memset(guest.file->data(), 0, guest.file->size_bytes());
  SplitQueue queue(guest.memory);
  try {
    set_up(queue, input);
  } catch (const Error&) {
    return;  // refused: that is an answer
  }
  std::deque<uint16_t> popped;
  while (!input.empty()) step(guest, queue, popped, input);
  queue.stop();
}

}  // namespace
}  // namespace kemari::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kemari::fuzz::run(kemari::fuzz::Input(data, size));
  return 0;
}
