#include "link/parcel.h"

namespace kemari {

void Parcel::clear() noexcept {
  before.clear();
  header.clear();
  pages.clear();
  after.clear();
  finished.reset();
  done_bytes = 0;
  epoch = 0;
  commit_epoch = 0;
  ends_item = false;
}

ParcelBelt::ParcelBelt() {
  for (size_t i = 0; i < kMaxParcels; i++) {
    all_.push_back(std::make_unique<Parcel>());
    free_.push_back(all_.back().get());
  }
}

Parcel* ParcelBelt::take() {
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [this] { return closed_ || !free_.empty(); });
  if (closed_) return nullptr;
  Parcel* parcel = free_.back();
  free_.pop_back();
  parcel->clear();
  return parcel;
}

void ParcelBelt::give_back(Parcel* parcel) {
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(parcel);
  }
  freed_.notify_one();
}

void ParcelBelt::send(Parcel* parcel) {
  {
    const std::lock_guard lock(mutex_);
    ready_.push_back(parcel);
  }
  filled_.notify_one();
}

Parcel* ParcelBelt::next() {
  std::unique_lock lock(mutex_);
  filled_.wait(lock, [this] { return closed_ || !ready_.empty(); });
  if (closed_) return nullptr;
  Parcel* parcel = ready_.front();
  ready_.pop_front();
  return parcel;
}

bool ParcelBelt::is_idle(size_t mine) const {
  const std::lock_guard lock(mutex_);
  return free_.size() + mine == all_.size();
}

void ParcelBelt::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  freed_.notify_all();
  filled_.notify_all();
}

}  // namespace kemari
