// The primary's end of the link: checkpoints and words go out, acks and words come in, the lease is renewed.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "link/checkpoint.h"
#include "link/connection.h"
#include "link/lease_holder.h"
#include "link/link_event.h"
#include "link/link_options.h"
#include "link/parcel.h"
#include "link/record_reader.h"
#include "link/send_queue.h"
#include "link/send_rate.h"
#include "link/send_times.h"
#include "link/stream_encoder.h"

namespace kemari {

struct LinkSenderStats {
  uint64_t queued_bytes;
  uint64_t sent_bytes;
  uint64_t raw_bytes;
  uint64_t acked_epoch;
  SendTimes::Summary ack;
  double bytes_per_second;
  std::chrono::nanoseconds round_trip;
  bool lease_valid;
  std::chrono::nanoseconds cpu_time;  // of the threads that encode and send
};

// Threads: one encodes, one sends (so that both overlap; what is small goes out on the first alone), one reads, one
// renews the lease.
class LinkSender : public CheckpointSink {
 public:
  struct Options {
    LinkConnections connections;
    uint64_t ram_pages;
    uint64_t cache_bytes;
    Compress compress;
    std::function<void(BootClock::time_point until)> renew_lease;
    LinkListener on_event;
  };

  // Throws KEMARI_LINK_MEMORY, KEMARI_LINK_SOCKET, KEMARI_LINK_TLS.
  explicit LinkSender(Options options);
  ~LinkSender() override;  // close()

  void start();

  std::unique_ptr<Checkpoint> take() override { return queue_.take(); }
  void submit(std::unique_ptr<Checkpoint> checkpoint) override;
  void recycle(std::unique_ptr<Checkpoint> checkpoint) override { queue_.recycle(std::move(checkpoint)); }
  bool wait_for_room() override { return queue_.wait_below(kMaxQueuedBytes); }
  uint64_t queued_bytes() const override { return queue_.queued_bytes(); }

  void say(Word word, const std::string& text);
  LinkSenderStats stats();
  const PageCounts& page_counts() const noexcept { return encoder_.counts(); }
  // Sends what is queued, for at most kCloseFlush, then ends all threads. Idempotent. Not from a listener.
  void close();

  static constexpr std::chrono::milliseconds kCloseFlush{1000};

 private:
  void run(void (LinkSender::*body)());
  void read_stream();
  void read_records();
  void take_record(const Record& record);
  void tell(LinkEvent event);
  void encode_stream();
  bool encode_item(SendItem item);
  bool pass_on(Parcel* parcel);
  void send_stream();
  bool send_parcel(Parcel& parcel);
  void secured();
  void lose(const Error& error);

  Options options_;
  Connection stream_;
  LeaseHolder lease_;
  SendQueue queue_;
  ParcelBelt belt_;
  StreamEncoder encoder_;
  std::unique_ptr<Checkpoint> encoding_;  // until its last parcel has it; outlives the threads
  SendRate rate_;
  SendTimes send_times_;
  std::atomic<uint64_t> sent_bytes_{0};
  std::atomic<uint64_t> raw_bytes_{0};
  std::atomic<int64_t> encode_cpu_ns_{0};
  std::atomic<int64_t> send_cpu_ns_{0};
  std::atomic<uint64_t> committed_epoch_{0};  // whose COMMIT went to the socket, or is about to
  std::atomic<uint64_t> acked_epoch_{0};
  std::atomic<int> secured_{0};
  std::atomic<bool> lost_{false};
  std::mutex closing_;
  std::vector<std::thread> threads_;
};

}  // namespace kemari
