// Records on their way from the encoder to the socket.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "link/checkpoint.h"
#include "link/page_encoder.h"

namespace kemari {

// Some records of one item, encoded.
struct Parcel {
  std::vector<uint8_t> before;           // whole records, ahead of the pages
  std::vector<uint8_t> header;           // of the record of pages; empty: there is none
  PageBatch pages;                       // its payload; parts of it lie in the checkpoint
  std::vector<uint8_t> after;            // whole records, behind the pages
  std::unique_ptr<Checkpoint> finished;  // with its last parcel: may be filled again once that is sent
  uint64_t done_bytes = 0;               // of the submitted bytes, those that are done with this parcel
  uint64_t epoch = 0;                    // of its pages; 0: they are sent ahead, or there are none
  uint64_t commit_epoch = 0;             // the epoch that ends with this parcel; 0: none
  bool ends_item = false;                // nothing has to follow soon

  void clear() noexcept;
};

// A few parcels in order, so that encoding and sending overlap. Bounded by kMaxParcels.
class ParcelBelt {
 public:
  static constexpr size_t kMaxParcels = 8;

  ParcelBelt();
  // An empty one to fill; blocks until there is one; nullptr when closed.
  Parcel* take();
  void give_back(Parcel* parcel);
  void send(Parcel* parcel);
  // The next to send; blocks; nullptr when closed.
  Parcel* next();
  // Whether all but `mine` parcels are at rest.
  bool is_idle(size_t mine) const;
  void close();

 private:
  mutable std::mutex mutex_;
  std::condition_variable freed_;
  std::condition_variable filled_;
  std::vector<std::unique_ptr<Parcel>> all_;
  std::vector<Parcel*> free_;
  std::deque<Parcel*> ready_;
  bool closed_ = false;
};

}  // namespace kemari
