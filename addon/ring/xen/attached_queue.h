// What every queue over a ring of Xen's has in common: the ring itself, kicks and faults.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "ring/request_queue.h"
#include "ring/xen/shared_ring.h"

namespace kemari::xen {

class AttachedQueue : public RequestQueue {
 public:
  // The ring's memory: whole pages, mapped until detach().
  void attach(std::span<uint8_t> memory) { ring_.attach(memory); }
  void detach() noexcept { ring_.detach(); }

  // Throws KEMARI_XEN_RING unless it is the ring's.
  void set_size(uint32_t size) override;
  // They say only which ring it is; attach() has it. Throws KEMARI_XEN_RING without one.
  void set_addresses(const QueueAddresses& addresses) override;
  void set_accepted(uint64_t) override {}
  void set_base(uint16_t last_available_index) override { base_ = last_available_index; }
  void start() override;
  uint16_t stop() noexcept override;

  // There is no former life but that of a checkpoint, which adopt() puts in place: breaks the queue.
  PopResult take(uint16_t head, Chain& chain) override;
  bool publish() noexcept override { return ring_.publish(); }
  PopResult break_queue(std::string why) override;
  const std::string& fault() const noexcept override { return fault_; }

  void set_kicks_wanted(bool wanted) noexcept override { kicks_wanted_ = wanted; }
  bool offered() const noexcept override { return kicks_wanted_ && !empty(); }
  bool arm_kicks() noexcept override { return kicks_wanted_ && ring_.arm(); }
  bool empty() const noexcept override { return !started_ || !ring_.has_requests(); }

  uint16_t size() const noexcept override { return size_; }
  uint16_t last_available_index() const noexcept override { return base_of(ring_.req_cons()); }
  uint16_t used_index() const noexcept override { return base_of(ring_.rsp_prod()); }
  uint16_t used_index_in_memory() const noexcept override { return base_of(ring_.rsp_prod_in_memory()); }

 protected:
  explicit AttachedQueue(size_t entry_bytes) : ring_(entry_bytes) {}

  SharedRing& ring() noexcept { return ring_; }
  const SharedRing& ring() const noexcept { return ring_; }
  bool is_started() const noexcept { return started_; }
  bool are_kicks_wanted() const noexcept { return kicks_wanted_; }
  // kChain: `to` has the next request.
  PopResult pop_entry(void* to);

 private:
  static uint16_t base_of(uint32_t index) noexcept { return static_cast<uint16_t>(index); }

  SharedRing ring_;
  uint16_t size_ = 0;
  uint16_t base_ = 0;
  bool started_ = false;
  bool kicks_wanted_ = false;
  std::string fault_;
};

}  // namespace kemari::xen
