// A virtio block device (virtio 1.2 section 5.2) of a guest: takes requests off its queues, sends what leaves the guest
// through the gate and everything to the back-end.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "ring/disk/block_backend.h"
#include "ring/disk/disk_request.h"
#include "ring/ring_device.h"

namespace kemari {

struct DiskDeviceOptions {
  uint32_t queues = 1;  // in [1, kMaxDiskQueues]
  std::string serial;   // at most VIRTIO_BLK_ID_BYTES
};

// Counted since the device was made.
struct DiskCounters {
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> writes{0};
  std::atomic<uint64_t> flushes{0};
  std::atomic<uint64_t> discards{0};  // and zeroings
  std::atomic<uint64_t> read_bytes{0};
  std::atomic<uint64_t> written_bytes{0};
  std::atomic<uint64_t> errors{0};     // answers other than VIRTIO_BLK_S_OK
  std::atomic<uint64_t> in_flight{0};  // taken and not answered, held ones included
  // What storage had not answered when the disk was closed or the connection was lost, and may do at any later time:
  // nothing that could be asked afterwards tells that it will not.
  std::atomic<uint64_t> unanswered_writes{0};
};

class DiskDevice final : public RingDevice, private BlockClient {
 public:
  static constexpr uint32_t kMaxDiskQueues = 16;
  // I/O errors are told one by one up to this many in a window; the next window's first one says how many were not.
  // What happens to the storage as a whole is counted apart: a thousand requests that failed must not hide why.
  static constexpr uint32_t kErrorEventsPerWindow = 8;
  static constexpr std::chrono::seconds kErrorEventWindow{10};

  DiskDevice(RingDevice::Options options, DiskDeviceOptions disk, std::unique_ptr<BlockBackend> backend);
  // A disk whose storage is opened later, known by what another host says of it. `engine`: which one it will be.
  DiskDevice(RingDevice::Options options, DiskDeviceOptions disk, const BlockGeometry& geometry, const char* engine);
  ~DiskDevice() override;

  // The storage of a disk that was made without one; before any queue starts. Throws KEMARI_DISK_GEOMETRY when it is
  // not what the guest was told. Any thread.
  void open(std::unique_ptr<BlockBackend> backend);

  // Any thread, also when the device has stopped.
  const char* engine() const noexcept { return engine_.load(); }
  const BlockGeometry& geometry() const noexcept { return geometry_; }
  const DiskCounters& counters() const noexcept { return counters_; }

 protected:
  uint64_t device_features() const override;
  uint32_t queue_count() const override { return disk_.queues; }
  std::span<const uint8_t> config() const override;
  bool set_config(uint32_t, std::span<const uint8_t>) override { return false; }  // nothing in it is the driver's
  void features_acked(uint64_t features) override;
  void memory_changed() override {}
  void thread_started() override;
  void thread_ending() override;
  void abandon() override;
  void turn_ended() override { attach(); }
  void queue_started(uint32_t index) override;
  void queue_kicked(uint32_t index) override;
  void queue_stopping(uint32_t) override {}
  uint32_t in_flight(uint32_t index) const override { return queues_[index].in_flight; }
  void abandon_held(uint32_t index) override;
  void lane_released() override;
  RingDeviceKind kind() const override { return RingDeviceKind::kDisk; }
  uint32_t unanswered_to_cut() const override;
  UnflushedChanges unflushed_to_cut() const override;
  void unflushed_restored(UnflushedChanges unflushed) override;
  std::vector<DeviceRequest> requests_to_cut() override;
  void submit_again(uint32_t index, const CutRequest& request, const std::vector<Segment>& writable) override;

 private:
  struct QueueState {
    uint32_t in_flight = 0;  // with the back-end
    bool posted = false;     // serve() comes again in the next turn
    bool starved = false;    // it stopped taking because the lane is full
  };

  // How much may be told in the window that is on.
  struct Budget {
    std::chrono::steady_clock::time_point window{};
    uint32_t told = 0;
    uint64_t untold = 0;

    bool take();
    std::string untold_text();  // for what is told next; empty where nothing was kept back
  };

  void attach();
  void serve(uint32_t index);
  void post_serve(uint32_t index);
  void begin(DiskRequest& request);
  void dispatch(DiskRequest& request);
  void begin_outbound(DiskRequest& request, OutboundKind kind);
  void note(const DiskRequest& request, bool passes) const;  // as evidence
  uint8_t check_outbound(DiskRequest& request, OutboundKind kind);
  void answer_id(DiskRequest& request);
  void start(DiskRequest& request);
  void start_range(DiskRequest& request);
  void finished(BlockRequest& block, int error) override;
  bool may_leave() const noexcept override { return lane().may_submit(); }
  void storage_event(const std::string& text) override;
  void left_unanswered() override;
  void report(const DiskRequest& request, int error);
  void respond(DiskRequest& request, uint8_t status, uint32_t written);
  void count(const DiskRequest& request);
  DiskRequest& take_free();
  void free(DiskRequest& request) noexcept;
  void fill_config();

  DiskDeviceOptions disk_;
  std::unique_ptr<BlockBackend> backend_;  // let go, with its locks, as the thread ends
  const BlockGeometry geometry_;           // what the guest was told
  std::atomic<const char*> engine_;
  virtio_blk_config config_{};
  bool write_through_ = false;
  bool attached_ = false;
  bool attach_tried_ = false;
  UnflushedChanges restored_unflushed_;  // for a back-end that is not attached yet
  std::vector<QueueState> queues_;
  std::vector<std::unique_ptr<DiskRequest>> requests_;  // bounded by what the queues can hold
  DiskRequest* free_ = nullptr;
  DiskCounters counters_;
  Budget requests_told_;
  Budget storage_told_;
};

}  // namespace kemari
