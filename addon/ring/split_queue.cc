#include "ring/split_queue.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <optional>
#include <utility>

#include "error.h"
#include "ring/virtio_ring.h"

namespace kemari {

namespace {

// SAFETY of the accessors: the addresses were checked to lie in guest memory, aligned for their type. The guest writes
// them at the same time, so every access is atomic and happens once.
uint16_t load16(const uint8_t* at, int order) noexcept {
  return __atomic_load_n(reinterpret_cast<const uint16_t*>(at), order);
}
void store16(uint8_t* at, uint16_t value, int order) noexcept {
  __atomic_store_n(reinterpret_cast<uint16_t*>(at), value, order);
}

// A copy of one descriptor; what the guest writes afterwards changes nothing for us.
virtq_desc load_descriptor(const uint8_t* table, uint16_t index) noexcept {
  const uint8_t* at = table + index * sizeof(virtq_desc);
  virtq_desc copy;
  if (reinterpret_cast<uintptr_t>(at) % alignof(virtq_desc) == 0) {
    const auto* descriptor = reinterpret_cast<const virtq_desc*>(at);
    copy.addr = __atomic_load_n(&descriptor->addr, __ATOMIC_RELAXED);
    copy.len = __atomic_load_n(&descriptor->len, __ATOMIC_RELAXED);
    copy.flags = __atomic_load_n(&descriptor->flags, __ATOMIC_RELAXED);
    copy.next = __atomic_load_n(&descriptor->next, __ATOMIC_RELAXED);
    return copy;
  }
  // An indirect table may lie anywhere. Volatile: each byte is read once, whatever the compiler would like.
  const volatile uint8_t* from = at;
  auto* to = reinterpret_cast<uint8_t*>(&copy);
  for (size_t i = 0; i < sizeof copy; i++) to[i] = from[i];
  return copy;
}

uint8_t* translate(const GuestMemory& memory, uint64_t address, uint64_t length, uint64_t alignment, const char* part) {
  uint8_t* hva = memory.at_front_end(address, length);
  if (hva == nullptr) fail("KEMARI_VHOST_USER_RING", std::string("the ") + part + " lies outside guest memory");
  // Guest addresses are aligned by the driver; what the front-end maps them to must be so as well.
  if (reinterpret_cast<uintptr_t>(hva) % alignment != 0) {
    fail("KEMARI_VHOST_USER_RING",
         std::string("the ") + part + " is not aligned to " + std::to_string(alignment) + " bytes");
  }
  return hva;
}

}  // namespace

void SplitQueue::check_size(uint32_t size) {
  if (size == 0 || size > kMaxSize || !std::has_single_bit(size)) {
    fail("KEMARI_VHOST_USER_RING", "queue size is " + std::to_string(size) + ", expected a power of two in [1, " +
                                       std::to_string(kMaxSize) + "]");
  }
}

void SplitQueue::set_size(uint32_t size) {
  check_size(size);
  size_ = static_cast<uint16_t>(size);
}

void SplitQueue::set_addresses(const QueueAddresses& addresses) {
  if (size_ == 0) fail("KEMARI_VHOST_USER_RING", "the queue has no size yet");
  uint8_t* descriptors = translate(memory_, addresses.descriptor, size_ * sizeof(virtq_desc), kDescriptorTableAlignment,
                                   "descriptor table");
  uint8_t* available =
      translate(memory_, addresses.available, kRingEntriesOffset + size_ * kAvailableEntryBytes + kRingEventBytes,
                kAvailableRingAlignment, "avail ring");
  uint8_t* used =
      translate(memory_, addresses.used, kRingEntriesOffset + size_ * sizeof(virtq_used_elem) + kRingEventBytes,
                kUsedRingAlignment, "used ring");
  descriptors_ = descriptors;
  available_ = available;
  used_ring_ = used;
}

void SplitQueue::set_features(bool indirect, bool event_idx) noexcept {
  indirect_ = indirect;
  event_idx_ = event_idx;
}

void SplitQueue::set_accepted(uint64_t features) {
  set_features((features & 1ull << VIRTIO_RING_F_INDIRECT_DESC) != 0,
               (features & 1ull << VIRTIO_RING_F_EVENT_IDX) != 0);
}

void SplitQueue::set_base(uint16_t last_avail_index) {
  last_avail_ = last_avail_index;
}

void SplitQueue::start() {
  if (size_ == 0 || descriptors_ == nullptr)
    fail("KEMARI_VHOST_USER_RING", "the queue has no size or no addresses yet");
  used_ = published_ = used_index_in_memory();
  signalled_used_ = used_;
  fault_.clear();
  started_ = true;
  set_kicks_wanted(true);
}

uint16_t SplitQueue::stop() noexcept {
  started_ = false;
  descriptors_ = available_ = used_ring_ = nullptr;
  return last_avail_;
}

uint16_t SplitQueue::used_index_in_memory() const noexcept {
  return load16(used_ring_ + kRingIndexOffset, __ATOMIC_ACQUIRE);
}

PopResult SplitQueue::break_queue(std::string why) {
  fault_ = std::move(why);
  return PopResult::kBroken;
}

bool SplitQueue::empty() const noexcept {
  return !started_ || load16(available_ + kRingIndexOffset, __ATOMIC_ACQUIRE) == last_avail_;
}

PopResult SplitQueue::pop(Chain& chain) {
  if (!fault_.empty()) return PopResult::kBroken;
  if (!started_) return PopResult::kEmpty;
  const uint16_t index = load16(available_ + kRingIndexOffset, __ATOMIC_ACQUIRE);
  const uint16_t waiting = static_cast<uint16_t>(index - last_avail_);
  if (waiting == 0) return PopResult::kEmpty;
  if (waiting > size_) {
    return break_queue("the avail index is " + std::to_string(index) + ", more than the queue's size beyond " +
                       std::to_string(last_avail_));
  }
  const uint64_t slot = last_avail_ & (size_ - 1);
  const uint16_t head = load16(available_ + kRingEntriesOffset + slot * kAvailableEntryBytes, __ATOMIC_RELAXED);
  if (read_chain(head, chain) == PopResult::kBroken) return PopResult::kBroken;
  last_avail_++;
  return PopResult::kChain;
}

PopResult SplitQueue::take(uint16_t head, Chain& chain) {
  if (!fault_.empty()) return PopResult::kBroken;
  return read_chain(head, chain);
}

PopResult SplitQueue::read_chain(uint16_t head, Chain& chain) {
  chain.head = head;
  chain.readable.clear();
  chain.writable.clear();
  if (head >= size_) return break_queue("descriptor head " + std::to_string(head) + " is outside the table");
  const uint8_t* table = descriptors_;
  uint32_t table_size = size_;
  bool in_indirect = false;
  uint16_t index = head;
  uint64_t bytes = 0;
  uint32_t visited = 0;
  while (true) {
    // A chain visits each descriptor of its table at most once; more is a loop (section 2.7.5.2 of virtio 1.2).
    if (visited++ == table_size) return break_queue("the descriptor chain is a loop");
    const virtq_desc descriptor = load_descriptor(table, index);
    if ((descriptor.flags & VIRTQ_DESC_F_INDIRECT) != 0) {
      if (!indirect_ || in_indirect) return break_queue("an indirect descriptor where none is allowed");
      if ((descriptor.flags & VIRTQ_DESC_F_NEXT) != 0) return break_queue("an indirect descriptor with a successor");
      if (descriptor.len == 0 || descriptor.len % sizeof(virtq_desc) != 0 ||
          descriptor.len / sizeof(virtq_desc) > kMaxChainSegments) {
        return break_queue("an indirect table of " + std::to_string(descriptor.len) + " bytes");
      }
      table = memory_.at_gpa(descriptor.addr, descriptor.len);
      if (table == nullptr) return break_queue("an indirect table outside guest memory");
      table_size = descriptor.len / sizeof(virtq_desc);
      in_indirect = true;
      index = 0;
      visited = 0;
      continue;
    }
    if (!append(descriptor.addr, descriptor.len, (descriptor.flags & VIRTQ_DESC_F_WRITE) != 0, chain)) {
      return PopResult::kBroken;
    }
    bytes += descriptor.len;
    if (bytes > kMaxChainBytes) return break_queue("the descriptor chain holds too many bytes");
    if ((descriptor.flags & VIRTQ_DESC_F_NEXT) == 0) return PopResult::kChain;
    if (descriptor.next >= table_size) return break_queue("a descriptor's successor is outside the table");
    index = descriptor.next;
  }
}

bool SplitQueue::append(uint64_t gpa, uint32_t length, bool writable, Chain& chain) {
  if (length == 0) {
    break_queue("an empty descriptor");
    return false;
  }
  if (!writable && !chain.writable.empty()) {
    break_queue("a readable descriptor behind a writable one");
    return false;
  }
  std::vector<Segment>& segments = writable ? chain.writable : chain.readable;
  while (length != 0) {
    // Guest memory may go on in another region (a memory module plugged in behind the first).
    const std::span<uint8_t> piece = memory_.prefix_at_gpa(gpa, length);
    if (piece.empty()) {
      break_queue("a descriptor reaches outside guest memory");
      return false;
    }
    segments.push_back({piece.data(), static_cast<uint32_t>(piece.size())});
    gpa += piece.size();
    length -= static_cast<uint32_t>(piece.size());
  }
  return true;
}

void SplitQueue::unpop(uint16_t count) noexcept {
  last_avail_ = static_cast<uint16_t>(last_avail_ - count);
}

void SplitQueue::landed(uint16_t, std::span<const Segment> writable, uint64_t touched) noexcept {
  for (const Segment& segment : writable) {
    const uint64_t length = std::min<uint64_t>(touched, segment.length);
    memory_.mark_dirty(segment.hva, length);
    touched -= length;
  }
}

// Though nothing is published, the bytes are in guest memory.
void SplitQueue::landed_in_vain(uint16_t head, std::span<const Segment> writable, uint64_t touched) noexcept {
  landed(head, writable, touched);
}

void SplitQueue::push_used(uint16_t head, uint32_t written) noexcept {
  KEMARI_ASSERT(started_);
  uint8_t* at = used_ring_ + kRingEntriesOffset + (used_ & (size_ - 1)) * sizeof(virtq_used_elem);
  // SAFETY: inside the used ring, aligned to 4 like the ring.
  auto* element = reinterpret_cast<virtq_used_elem*>(at);
  __atomic_store_n(&element->id, static_cast<uint32_t>(head), __ATOMIC_RELAXED);
  __atomic_store_n(&element->len, written, __ATOMIC_RELAXED);
  memory_.mark_dirty(at, sizeof(virtq_used_elem));
  used_++;
}

bool SplitQueue::publish() noexcept {
  if (published_ == used_) return false;
  memory_.mark_dirty(used_ring_ + kRingIndexOffset, sizeof(uint16_t));
  store16(used_ring_ + kRingIndexOffset, used_, __ATOMIC_RELEASE);
  published_ = used_;
  // The store must be visible before the driver's wish is read (section 2.7.7.2): else both sides may sleep.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!event_idx_) return (load16(available_, __ATOMIC_RELAXED) & VIRTQ_AVAIL_F_NO_INTERRUPT) == 0;
  const uint16_t event = load16(available_ + kRingEntriesOffset + size_ * kAvailableEntryBytes, __ATOMIC_RELAXED);
  const uint16_t before = std::exchange(signalled_used_, used_);
  return needs_event(event, used_, before);
}

void SplitQueue::set_kicks_wanted(bool wanted) noexcept {
  kicks_wanted_ = wanted;
  // With EVENT_IDX the last avail event lies in the past, and never fires.
  if (!wanted && !event_idx_) tell_kicks(VIRTQ_USED_F_NO_NOTIFY);
}

bool SplitQueue::arm_kicks() noexcept {
  if (!kicks_wanted_) return false;
  if (event_idx_) {
    uint8_t* event = used_ring_ + kRingEntriesOffset + size_ * sizeof(virtq_used_elem);
    if (load16(event, __ATOMIC_RELAXED) != last_avail_) {
      memory_.mark_dirty(event, sizeof(uint16_t));
      store16(event, last_avail_, __ATOMIC_RELAXED);
    }
  } else {
    tell_kicks(0);
  }
  // The wish must be visible before the avail ring is read (section 2.7.10): else both sides may sleep.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return !empty();
}

void SplitQueue::describe(uint16_t, std::span<const Segment> writable, CutRequest& cut) const {
  cut.writable.reserve(writable.size());
  for (const Segment& segment : writable) {
    const std::optional<uint64_t> gpa = memory_.gpa_of(segment.hva, segment.length);
    if (!gpa) fail("KEMARI_RING_STATE", "a request in flight has a buffer in memory that was taken from the guest");
    cut.writable.push_back({*gpa, segment.length});
  }
}

std::vector<Segment> SplitQueue::adopt(const CutRequest& cut) {
  std::vector<Segment> translated;
  translated.reserve(cut.writable.size());
  for (const CutSegment& segment : cut.writable) {
    uint8_t* hva = memory_.at_gpa(segment.address, segment.length);
    if (hva == nullptr) {
      fail("KEMARI_RING_STATE", "a request of a checkpoint has a buffer outside guest memory, at guest address " +
                                    std::to_string(segment.address));
    }
    translated.push_back({hva, segment.length});
  }
  return translated;
}

void SplitQueue::tell_kicks(uint16_t flags) noexcept {
  if (load16(used_ring_, __ATOMIC_RELAXED) == flags) return;
  memory_.mark_dirty(used_ring_, sizeof(uint16_t));
  store16(used_ring_, flags, __ATOMIC_RELAXED);
}

}  // namespace kemari
