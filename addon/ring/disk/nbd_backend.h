// A disk on an NBD export. The connection's socket is served by the device's own thread; when the server goes away,
// requests fail at once and a thread of the back-end tries to connect again.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ring/disk/block_backend.h"
#include "ring/disk/nbd_connection.h"
#include "unique_fd.h"

namespace kemari {

class NbdBackend final : public BlockBackend {
 public:
  static constexpr std::chrono::milliseconds kConnectTimeout{10'000};
  // After a loss: so many attempts, the pause between them doubling from the first to the last value. A request that
  // comes when all are used up starts a new round.
  static constexpr std::chrono::milliseconds kAbandonTimeout{2'000};
  static constexpr int kReconnectAttempts = 60;
  static constexpr std::chrono::milliseconds kFirstReconnectPause{100};
  static constexpr std::chrono::milliseconds kLastReconnectPause{5'000};

  // Connects (blocking). `read_only` and `discard` as the domain's file wants them. Throws KEMARI_NBD_CONNECT, or
  // KEMARI_DISK_OPEN when the export is read-only and the disk is not.
  NbdBackend(std::string uri, bool read_only, bool discard);
  ~NbdBackend() override;

  // Before it is attached: whether the connection, made some time ago, can be used. Blocks for kProbeTimeout at most.
  bool answers() { return connection_->answers(kProbeTimeout); }
  static constexpr std::chrono::milliseconds kProbeTimeout{100};

  const char* engine() const noexcept override { return "nbd"; }
  const BlockGeometry& geometry() const noexcept override { return geometry_; }
  void attach(EventLoop& loop, BlockClient& client) override;
  void abandon() override;
  void detach() override;
  void submit(BlockRequest& request) override;
  void stepped(BlockRequest& request, int result) override;
  void work(BlockRequest& request) override;

 private:
  void await_answers();
  void watch();
  void pump();
  void update_interest();
  void hand_back();
  bool start_step(BlockRequest& request);
  int64_t issue(BlockRequest& request);
  void finish(BlockRequest& request, int error);
  void lose(const std::string& why);
  void unwatch();
  void start_reconnecting();
  void reconnect_loop();
  void reconnected();

  const std::string uri_;
  std::unique_ptr<NbdConnection> connection_;  // empty while the server is away
  BlockGeometry geometry_;
  EventLoop* loop_ = nullptr;
  BlockClient* client_ = nullptr;
  bool abandoned_ = false;
  // Watches the connection's socket for what libnbd wants at the moment; the loop watches this.
  UniqueFd interest_;
  uint32_t interest_events_ = 0;
  std::vector<BlockRequest*> in_flight_;  // given to libnbd or between its steps
  std::vector<BlockRequest*> stepped_;    // libnbd's callbacks fill it; it must not be called from within them
  bool handing_back_ = false;
  BouncePool bounces_;
  std::deque<BlockRequest*> waiting_for_bounce_;  // bounded by the requests of the disk

  // --- shared with the thread that connects again ---
  std::mutex reconnect_mutex_;
  std::condition_variable reconnect_changed_;
  bool reconnecting_ = false;
  bool ending_ = false;
  std::string reconnect_failure_;                    // set when a round has ended without success
  std::unique_ptr<NbdConnection> fresh_connection_;  // set when it succeeded
  UniqueFd reconnect_event_;
  std::thread reconnect_thread_;
};

}  // namespace kemari
