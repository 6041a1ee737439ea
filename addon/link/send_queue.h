// What waits to be encoded: checkpoints and words, in order; and checkpoints to be filled again.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "link/checkpoint.h"
#include "link/record.h"

namespace kemari {

using SendItem = std::variant<std::unique_ptr<Checkpoint>, WordMessage>;

class SendQueue {
 public:
  explicit SendQueue(uint64_t ram_pages) : ram_pages_(ram_pages) {}

  std::unique_ptr<Checkpoint> take();
  void recycle(std::unique_ptr<Checkpoint> checkpoint);

  // Never blocks. Dropped when closed. Asserts the order of epochs.
  void submit(std::unique_ptr<Checkpoint> checkpoint);
  // False when closed, or when kMaxWords wait already.
  bool say(WordMessage word);
  // The next item; blocks; nullopt when closed.
  std::optional<SendItem> next();
  // `bytes` of what next() gave are in the socket's hands; `whole`: with them an item is.
  void sent(uint64_t bytes, bool whole) noexcept;
  // Blocks until all items are in the socket's hands, or the time is over, or it is closed.
  void wait_until_sent(std::chrono::milliseconds at_most);
  // Blocks while more than `limit` bytes wait; false when closed.
  bool wait_below(uint64_t limit);

  uint64_t queued_bytes() const noexcept { return queued_bytes_.load(); }
  // Everybody who waits returns; what is queued is dropped. For good.
  void close();

 private:
  static constexpr size_t kMaxFree = 3;  // one is filled while one is sent and one waits
  static constexpr size_t kMaxWords = 64;

  const uint64_t ram_pages_;
  std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable drained_;
  std::deque<SendItem> items_;
  std::vector<std::unique_ptr<Checkpoint>> free_;
  size_t words_ = 0;
  size_t unsent_items_ = 0;
  uint64_t last_epoch_ = 0;
  bool closed_ = false;
  std::atomic<uint64_t> queued_bytes_{0};
};

}  // namespace kemari
