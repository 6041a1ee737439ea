// The ring on which a guest's network driver sends, as a queue of virtio-net frames: header, then the frame. A frame is
// copied from the guest as it is taken, many at once, so it cannot change any more.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "ring/net/net_header.h"
#include "ring/xen/grant_copier.h"
#include "ring/xen/netif.h"
#include "ring/xen/netif_queue.h"
#include "ring/xen/page_pool.h"

namespace kemari::xen {

class NetifTransmitQueue final : public NetifQueue {
 public:
  // Of a frame, its extra info included; as many as Linux's back-end takes before it gives a driver up.
  static constexpr uint32_t kMaxFrameSlots = 20;
  // Entries of the ring whose frames are copied at once; one frame more may be begun.
  static constexpr uint32_t kBatchSlots = 64;

  explicit NetifTransmitQueue(GrantCopier& grants)
      : NetifQueue(kNetifTxEntryBytes), grants_(grants), pages_(kMaxSize) {}

  void set_base(uint16_t last_available_index) override;
  uint16_t stop() noexcept override;

  PopResult pop(Chain& chain) override;
  void unpop(uint16_t count) noexcept override;
  void push_used(uint16_t head, uint32_t written) noexcept override;
  bool empty() const noexcept override { return staged_.empty() && NetifQueue::empty(); }

 private:
  struct Piece {
    uint16_t id;
    uint16_t page;    // of the pool
    uint16_t length;  // may be 0
  };
  struct Frame {
    bool is_taken = false;
    bool is_refused = false;  // answered with an error, never sent
    uint32_t index = 0;       // of its first entry
    uint32_t extras = 0;      // entries with extra info, behind the first
    uint16_t flags = 0;
    uint32_t total_bytes = 0;
    std::optional<netif_extra_info> segmentation;
    NetHeader header{};
    std::vector<Piece> pieces;

    uint32_t slots() const noexcept { return extras + static_cast<uint32_t>(pieces.size()); }
  };

  uint16_t take_frame();
  void release(Frame& frame) noexcept;
  PopResult stage();
  PopResult read_frame(Frame& frame, const netif_tx_request& first);
  PopResult read_extras(Frame& frame);
  PopResult read_pieces(Frame& frame, netif_tx_request request);
  PopResult next_entry(const Frame& frame, void* entry);
  PopResult add_piece(Frame& frame, const netif_tx_request& request, uint32_t length);
  void finish(Frame& frame, bool is_copied);
  bool make_header(Frame& frame) const;

  GrantCopier& grants_;
  PagePool pages_;
  std::vector<Frame> frames_;  // by head
  std::vector<uint16_t> free_;
  std::deque<uint16_t> staged_;  // copied, and not popped
  std::vector<GrantCopy> copies_;
  std::vector<netif_tx_request> others_;  // of the frame that is read
};

}  // namespace kemari::xen
