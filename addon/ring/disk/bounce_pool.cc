#include "ring/disk/bounce_pool.h"

#include <cstdlib>

#include "error.h"

namespace kemari {

BouncePool::~BouncePool() {
  for (const auto& buffer : all_) std::free(buffer->data);
}

BounceBuffer* BouncePool::take() {
  if (!free_.empty()) {
    BounceBuffer* buffer = free_.back();
    free_.pop_back();
    return buffer;
  }
  if (all_.size() == kBounceBufferCount) return nullptr;
  auto* data = static_cast<uint8_t*>(std::aligned_alloc(kBounceAlignment, kBounceBufferBytes));
  if (data == nullptr) return nullptr;
  all_.push_back(std::make_unique<BounceBuffer>(BounceBuffer{data}));
  free_.reserve(all_.size());
  return all_.back().get();
}

void BouncePool::give_back(BounceBuffer* buffer) noexcept {
  KEMARI_ASSERT(buffer != nullptr && free_.size() < all_.size());
  free_.push_back(buffer);
}

}  // namespace kemari
