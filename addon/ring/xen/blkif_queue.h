// A block driver's ring of Xen's as a queue of virtio-blk requests: header, data, status. The disk behind it is the one
// that serves virtqueues. Data is copied from the guest as a request is popped, so it cannot change any more, and to
// the guest as a read lands.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ring/disk/disk_request.h"
#include "ring/disk/virtio_blk.h"
#include "ring/xen/attached_queue.h"
#include "ring/xen/blkif.h"
#include "ring/xen/grant_copier.h"
#include "ring/xen/shared_ring.h"

namespace kemari::xen {

class BlkifQueue final : public AttachedQueue {
 public:
  // Data pages of one indirect request; told to the driver as feature-max-indirect-segments.
  static constexpr uint32_t kMaxIndirectSegments = 256;

  explicit BlkifQueue(GrantCopier& grants) : AttachedQueue(kBlkifEntryBytes), grants_(grants) {}

  // Also forgets all requests of a former life.
  void set_base(uint16_t last_available_index) override;
  // Throws KEMARI_RING_STATE when what was adopted is not what is outstanding in the ring.
  void start() override;

  PopResult pop(Chain& chain) override;
  void unpop(uint16_t count) noexcept override;
  void landed(uint16_t head, std::span<const Segment> writable, uint64_t touched) noexcept override;
  void landed_in_vain(uint16_t, std::span<const Segment>, uint64_t) noexcept override {}
  void push_used(uint16_t head, uint32_t written) noexcept override;

  void describe(uint16_t head, std::span<const Segment> writable, CutRequest& cut) const override;
  std::vector<Segment> adopt(const CutRequest& cut) override;
  void describe_kept(CutQueue::Kept& kept) const override;
  void adopt_kept(const CutQueue::Kept& kept) override;

 private:
  struct Free {
    void operator()(uint8_t* data) const noexcept { std::free(data); }
  };
  // A request between pop and answer. Its memory stays for the next one.
  struct Slot {
    bool is_taken = false;
    std::optional<uint32_t> index;  // in the ring; none: of a checkpoint
    uint64_t id = 0;
    uint8_t operation = 0;
    bool is_refused = false;  // answered with an error, whatever the disk says
    virtio_blk_outhdr header{};
    uint8_t status = 0;
    std::vector<GrantPiece> pieces;  // of a read or write
    uint32_t data_bytes = 0;
    std::unique_ptr<uint8_t, Free> data;
    uint32_t room_bytes = 0;
    std::vector<virtio_blk_discard_write_zeroes> ranges;
  };

  Slot& take_slot();
  Slot& clear(Slot& slot);
  bool parse(Slot& slot, const blkif_request& request);
  bool parse_transfer(Slot& slot, uint8_t operation, uint64_t sector, std::span<const blkif_request_segment> segments);
  bool parse_indirect(Slot& slot, const blkif_request_indirect& request);
  bool parse_discard(Slot& slot, const blkif_request_discard& request);
  bool make_room(Slot& slot);
  void build(Slot& slot, Chain& chain);
  Slot& adopt_slot(uint16_t head, uint64_t id, uint8_t operation);

  GrantCopier& grants_;
  std::vector<Slot> slots_;  // by head
  uint32_t taken_ = 0;
};

}  // namespace kemari::xen
