// Aligned buffers of our own for requests whose guest memory the storage cannot use as it is: O_DIRECT with misaligned
// segments, or NBD with scattered ones. Bounded: whoever finds none waits in line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace kemari {

inline constexpr size_t kBounceBufferBytes = 256 * 1024;  // longer requests go in pieces
inline constexpr size_t kBounceBufferCount = 32;          // a disk; allocated when first needed
inline constexpr size_t kBounceAlignment = 4096;          // enough for every known O_DIRECT

struct BounceBuffer {
  uint8_t* data;  // kBounceBufferBytes
};

class BouncePool {
 public:
  BouncePool() = default;
  ~BouncePool();
  BouncePool(const BouncePool&) = delete;
  BouncePool& operator=(const BouncePool&) = delete;

  BounceBuffer* take();  // nullptr: none to be had now
  bool any_taken() const noexcept { return free_.size() < all_.size(); }
  void give_back(BounceBuffer* buffer) noexcept;

 private:
  std::vector<std::unique_ptr<BounceBuffer>> all_;
  std::vector<BounceBuffer*> free_;
};

}  // namespace kemari
