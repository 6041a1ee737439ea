#include "ring/xen/attached_queue.h"

#include "error.h"

namespace kemari::xen {

void AttachedQueue::set_size(uint32_t size) {
  if (size == 0 || size > kMaxSize || size != ring_.entries()) {
    fail("KEMARI_XEN_RING", "a ring of " + std::to_string(size) + " entries is spoken of, its pages hold " +
                                std::to_string(ring_.entries()));
  }
  size_ = static_cast<uint16_t>(size);
}

void AttachedQueue::set_addresses(const QueueAddresses&) {
  if (!ring_.is_attached()) fail("KEMARI_XEN_RING", "the ring is not mapped");
}

void AttachedQueue::start() {
  if (size_ == 0 || !ring_.is_attached()) fail("KEMARI_XEN_RING", "the ring is not mapped");
  ring_.start(static_cast<uint16_t>(base_ - used_index_in_memory()));
  fault_.clear();
  started_ = kicks_wanted_ = true;
}

uint16_t AttachedQueue::stop() noexcept {
  started_ = false;
  base_ = last_available_index();  // where it goes on, if it is started again as it is
  return base_;
}

PopResult AttachedQueue::take(uint16_t head, Chain&) {
  return break_queue("a request of a former life is to be read again, at " + std::to_string(head));
}

PopResult AttachedQueue::break_queue(std::string why) {
  fault_ = std::move(why);
  return PopResult::kBroken;
}

PopResult AttachedQueue::pop_entry(void* to) {
  if (!fault_.empty()) return PopResult::kBroken;
  if (!started_) return PopResult::kEmpty;
  const PopResult result = ring_.pop(to);
  if (result == PopResult::kBroken) return break_queue("the driver's index is further ahead than the ring is long");
  return result;
}

}  // namespace kemari::xen
