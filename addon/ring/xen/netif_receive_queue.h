// The ring on which a guest's network driver receives, as a queue of virtio-net receive buffers: pages of ours, one for
// a request. What landed in them is copied to the guest's pages as it is published, many frames at once.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "ring/net/net_header.h"
#include "ring/xen/grant_copier.h"
#include "ring/xen/netif.h"
#include "ring/xen/netif_queue.h"
#include "ring/xen/page_pool.h"

namespace kemari::xen {

class NetifReceiveQueue final : public NetifQueue {
 public:
  explicit NetifReceiveQueue(GrantCopier& grants) : NetifQueue(kNetifRxEntryBytes), grants_(grants), pages_(kMaxSize) {}

  void set_accepted(uint64_t features) override;
  void set_base(uint16_t last_available_index) override;
  uint16_t stop() noexcept override;

  PopResult pop(Chain& chain) override;
  void unpop(uint16_t count) noexcept override;
  void push_used(uint16_t head, uint32_t written) noexcept override;
  bool publish() noexcept override;
  bool arm_kicks() noexcept override;
  bool empty() const noexcept override;

 private:
  // An entry of the ring that is answered with the next publish().
  struct Answer {
    netif_rx_response response;
    bool is_extra;
    netif_extra_info extra;
    uint16_t page;  // not of an extra
    bool has_copy;
  };

  // Requests that one buffer more takes: segments come with extra info, an entry more for each frame.
  size_t wanted() const noexcept { return (popped_.size() + 1) * (has_segments_ ? 2 : 1); }
  PopResult read_requests(size_t count);
  netif_rx_request take_request() noexcept;
  void answer_data(uint16_t head, uint32_t written);
  void answer_extra();

  GrantCopier& grants_;
  PagePool pages_;
  bool has_segments_ = false;
  std::deque<netif_rx_request> requests_;  // read from the ring, in its order
  std::deque<uint16_t> popped_;            // heads, which are pages of the pool, oldest first
  NetHeader header_{};                     // of the frame that is being answered
  uint32_t buffers_left_ = 0;              // of it
  std::vector<Answer> answers_;
  std::vector<GrantCopy> copies_;
};

}  // namespace kemari::xen
