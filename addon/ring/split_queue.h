// The device side of one virtio 1.2 split virtqueue (section 2.7). The guest is hostile: descriptors are copied, then
// checked, then used, and never read twice.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "memory/guest_memory.h"
#include "ring/request_queue.h"

namespace kemari {

class SplitQueue final : public RequestQueue {
 public:
  explicit SplitQueue(const GuestMemory& memory) : memory_(memory) {}

  // Throws KEMARI_VHOST_USER_RING unless `size` is a power of two in [1, kMaxSize].
  static void check_size(uint32_t size);
  void set_size(uint32_t size) override;
  // Translates and keeps the addresses; throws KEMARI_VHOST_USER_RING when a part lies outside guest memory or is not
  // aligned as section 2.7 demands.
  void set_addresses(const QueueAddresses& addresses) override;
  void set_features(bool indirect, bool event_idx) noexcept;
  void set_accepted(uint64_t features) override;
  void set_base(uint16_t last_avail_index) override;
  void start() override;
  uint16_t stop() noexcept override;
  bool started() const noexcept { return started_; }

  PopResult pop(Chain& chain) override;
  PopResult take(uint16_t head, Chain& chain) override;
  void unpop(uint16_t count) noexcept override;
  // Pages are marked before the used entry is published.
  void landed(uint16_t head, std::span<const Segment> writable, uint64_t touched) noexcept override;
  void landed_in_vain(uint16_t head, std::span<const Segment> writable, uint64_t touched) noexcept override;
  // Marks the ring's page dirty.
  void push_used(uint16_t head, uint32_t written) noexcept override;
  bool publish() noexcept override;
  PopResult break_queue(std::string why) override;
  const std::string& fault() const noexcept override { return fault_; }

  void set_kicks_wanted(bool wanted) noexcept override;
  bool offered() const noexcept override { return kicks_wanted_ && !empty(); }
  bool arm_kicks() noexcept override;
  bool empty() const noexcept override;

  uint16_t size() const noexcept override { return size_; }
  uint16_t last_available_index() const noexcept override { return last_avail_; }
  uint16_t used_index() const noexcept override { return used_; }
  uint16_t used_index_in_memory() const noexcept override;

  // By guest physical addresses: descriptors may be changed by the guest after the request was popped, so they are not
  // read again.
  void describe(uint16_t head, std::span<const Segment> writable, CutRequest& cut) const override;
  std::vector<Segment> adopt(const CutRequest& cut) override;
  void describe_kept(CutQueue::Kept&) const override {}
  void adopt_kept(const CutQueue::Kept&) override {}

 private:
  PopResult read_chain(uint16_t head, Chain& chain);
  void tell_kicks(uint16_t flags) noexcept;
  bool append(uint64_t gpa, uint32_t length, bool writable, Chain& chain);
  const GuestMemory& memory_;
  uint16_t size_ = 0;
  bool started_ = false;
  bool indirect_ = false;
  bool event_idx_ = false;
  bool kicks_wanted_ = false;
  uint16_t last_avail_ = 0;
  uint16_t used_ = 0;            // next used entry to write
  uint16_t published_ = 0;       // used index the guest sees
  uint16_t signalled_used_ = 0;  // used index at the last call, for EVENT_IDX
  uint8_t* descriptors_ = nullptr;
  uint8_t* available_ = nullptr;
  uint8_t* used_ring_ = nullptr;
  std::string fault_;
};

}  // namespace kemari
