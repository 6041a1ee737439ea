// The standby's end of the link: epochs come in, are checked, and are copied into guest memory whole or not at all.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "link/boot_clock.h"
#include "link/connection.h"
#include "link/epoch_staging.h"
#include "link/lease_granter.h"
#include "link/link_event.h"
#include "link/link_options.h"
#include "link/ram_image.h"
#include "link/record_reader.h"

namespace kemari {

struct LinkReceiverStats {
  uint64_t received_bytes;
  uint64_t pages_received;
  uint64_t committed_epoch;
  uint64_t staged_bytes;
  uint64_t staged_bytes_peak;
  std::chrono::nanoseconds apply_time;
};

// Threads: one reads, checks and applies; one grants leases. Acks and words go out on the caller's thread.
class LinkReceiver {
 public:
  struct Options {
    LinkConnections connections;
    std::unique_ptr<RamImage> ram;
    uint32_t device_count;
    uint64_t staging_bytes;
    std::chrono::nanoseconds takeover_timeout;
    // Of a device's cut: whether the primary may have writes of it with its storage. On the reading thread.
    std::function<bool(std::span<const uint8_t>)> has_pending_writes;
    LinkListener on_event;
  };

  // Throws KEMARI_LINK_MEMORY, KEMARI_LINK_SOCKET, KEMARI_LINK_TLS.
  explicit LinkReceiver(Options options);
  ~LinkReceiver();  // close()

  void start();

  // Never blocks; nothing happens once the connection failed. Throws KEMARI_ARGUMENT for an epoch that was not
  // committed, or was acknowledged.
  void ack(uint64_t epoch);
  // Never blocks. Also after the stream was lost by a fault that was found here: the peer may still listen.
  void say(Word word, const std::string& text);

  // Grants no lease any more; when the last one is over.
  BootClock::time_point stop_granting() { return lease_.stop_granting(); }

  // Stops reading and waits until guest memory is whole. What came of a later epoch is dropped. The caller may read
  // committed() from then on.
  void stop_reading();
  const EpochState& committed() const noexcept { return staging_.committed(); }

  LinkReceiverStats stats() const noexcept;
  // Ends all threads. What was said and does not fit into the socket waits for at most kCloseFlush. Idempotent.
  void close();

  static constexpr std::chrono::milliseconds kCloseFlush{1000};

 private:
  static constexpr size_t kMaxUnsaid = 16;

  void read_stream();
  void tell(LinkEvent event);
  void start_posting();
  void take_word(const Record& record);
  void take_part(const Record& record);
  bool has_pending_writes(const EpochState& state) const;
  void secured();
  void lose(const std::string& code, const std::string& text);
  void post(RecordType type, uint64_t epoch, std::span<const uint8_t> payload);

  Options options_;
  EpochStaging staging_;  // of the reading thread until that has ended
  Connection stream_;
  LeaseGranter lease_;
  std::mutex posting_;  // of what follows
  uint64_t next_number_ = 1;
  uint64_t acked_epoch_ = 0;
  bool can_post_ = false;
  std::vector<std::vector<uint8_t>> unsaid_;  // words from before the peer has proved itself; at most kMaxUnsaid
  std::atomic<uint64_t> received_bytes_{0};
  std::atomic<uint64_t> pages_received_{0};
  std::atomic<uint64_t> committed_epoch_{0};
  std::atomic<uint64_t> staged_bytes_{0};
  std::atomic<uint64_t> staged_bytes_peak_{0};
  std::atomic<std::chrono::nanoseconds> apply_time_{std::chrono::nanoseconds{0}};
  std::atomic<int> secured_{0};
  std::atomic<bool> lost_{false};
  std::mutex joining_;
  std::thread reading_;
};

}  // namespace kemari
