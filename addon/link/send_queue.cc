#include "link/send_queue.h"

#include <utility>

#include "error.h"

namespace kemari {

std::unique_ptr<Checkpoint> SendQueue::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      std::unique_ptr<Checkpoint> checkpoint = std::move(free_.back());
      free_.pop_back();
      return checkpoint;
    }
  }
  return std::make_unique<Checkpoint>(ram_pages_);
}

void SendQueue::recycle(std::unique_ptr<Checkpoint> checkpoint) {
  checkpoint->clear();
  const std::lock_guard lock(mutex_);
  if (free_.size() < kMaxFree) free_.push_back(std::move(checkpoint));
}

void SendQueue::submit(std::unique_ptr<Checkpoint> checkpoint) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      KEMARI_ASSERT(checkpoint->epoch == 0 ? last_epoch_ == 0 : checkpoint->epoch == last_epoch_ + 1);
      last_epoch_ = checkpoint->epoch;
      queued_bytes_ += checkpoint->byte_count();
      items_.emplace_back(std::move(checkpoint));
      unsent_items_++;
    }
  }
  if (checkpoint != nullptr) return recycle(std::move(checkpoint));
  filled_.notify_one();
}

bool SendQueue::say(WordMessage word) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || words_ == kMaxWords) return false;
    words_++;
    items_.emplace_back(std::move(word));
    unsent_items_++;
  }
  filled_.notify_one();
  return true;
}

std::optional<SendItem> SendQueue::next() {
  std::unique_lock lock(mutex_);
  filled_.wait(lock, [this] { return closed_ || !items_.empty(); });
  if (closed_) return std::nullopt;
  SendItem item = std::move(items_.front());
  items_.pop_front();
  if (std::holds_alternative<WordMessage>(item)) words_--;
  return item;
}

void SendQueue::sent(uint64_t bytes, bool whole) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    queued_bytes_ -= bytes;
    if (whole) unsent_items_--;
  }
  drained_.notify_all();
}

bool SendQueue::wait_below(uint64_t limit) {
  std::unique_lock lock(mutex_);
  drained_.wait(lock, [this, limit] { return closed_ || queued_bytes_ <= limit; });
  return !closed_;
}

void SendQueue::wait_until_sent(std::chrono::milliseconds at_most) {
  std::unique_lock lock(mutex_);
  drained_.wait_for(lock, at_most, [this] { return closed_ || unsent_items_ == 0; });
}

void SendQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    items_.clear();
    queued_bytes_ = 0;
  }
  filled_.notify_all();
  drained_.notify_all();
}

}  // namespace kemari
