// What both rings of a network driver of Xen's have in common, and what the driver's wishes are in virtio's terms.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ring/xen/attached_queue.h"

namespace kemari::xen {

// What a driver takes, as it says in xenstore.
struct NetifOffloads {
  bool scatter = false;   // frames in several pieces (feature-sg)
  bool checksum = false;  // frames whose checksum is blank (no feature-no-csum-offload)
  bool tcp4 = false;      // segments to be cut (feature-gso-tcpv4, feature-gso-tcpv6)
  bool tcp6 = false;
};

// The features that a virtio driver like it would have accepted.
uint64_t netif_features(const NetifOffloads& offloads) noexcept;

// A NIC has nothing in its hands once its queues stand still: what it was given to send it has copied and answered, and
// receive buffers it has put back. So no checkpoint has anything of these rings, whose indexes lie in guest memory.
class NetifQueue : public AttachedQueue {
 public:
  // Throws KEMARI_RING_STATE when something of a former life is without an answer.
  void start() override;

  void landed(uint16_t, std::span<const Segment>, uint64_t) noexcept override {}
  void landed_in_vain(uint16_t, std::span<const Segment>, uint64_t) noexcept override {}

  // All of them throw KEMARI_RING_STATE.
  void describe(uint16_t head, std::span<const Segment> writable, CutRequest& cut) const override;
  std::vector<Segment> adopt(const CutRequest& cut) override;
  void describe_kept(CutQueue::Kept& kept) const override;
  void adopt_kept(const CutQueue::Kept& kept) override;

 protected:
  using AttachedQueue::AttachedQueue;
};

}  // namespace kemari::xen
