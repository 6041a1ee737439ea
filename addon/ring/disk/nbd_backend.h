// A disk on an NBD export. The connection's socket is served by the device's own thread; when the server goes away,
// requests fail at once and a thread of the back-end tries to connect again.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ring/disk/block_backend.h"
#include "ring/disk/nbd_connection.h"
#include "ring/disk/nbd_reconnector.h"
#include "ring/disk/unflushed.h"
#include "unique_fd.h"

namespace kemari {

class NbdBackend final : public BlockBackend {
 public:
  // How long the device's end waits for answers.
  static constexpr std::chrono::milliseconds kAbandonTimeout{2'000};

  // Connects (blocking). `read_only` and `discard` as the domain's file wants them. Throws KEMARI_NBD_CONNECT, or
  // KEMARI_DISK_OPEN when the export is read-only and the disk is not.
  // `lost_server`: this host was connected before, and that connection has ended.
  NbdBackend(std::string uri, bool read_only, bool discard, bool lost_server = false);

  // Whether it may be connected while another host's connection is in use.
  bool is_shareable() const noexcept { return connection_->can_multi_conn(); }

  // Before it is attached: whether the connection, made some time ago, can be used. Blocks for kProbeTimeout at most.
  NbdConnection::Answer probe() { return connection_->probe(kProbeTimeout); }
  static constexpr std::chrono::milliseconds kProbeTimeout{100};

  const char* engine() const noexcept override { return "nbd"; }
  const BlockGeometry& geometry() const noexcept override { return geometry_; }
  void attach(EventLoop& loop, BlockClient& client) override;
  void abandon() override;
  void detach() override;
  void submit(BlockRequest& request) override;
  UnflushedChanges unflushed() const override { return unflushed_.to_cut(); }
  void go_on_from(UnflushedChanges unflushed) override;
  void resume() override;
  void stepped(BlockRequest& request, int result) override;
  void withdrawn(BlockRequest& request) override;
  void work(BlockRequest& request) override;

 private:
  void await_answers();
  void watch();
  void pump();
  std::optional<std::string> proceed(uint32_t events);
  bool stands_still() const noexcept;
  void update_interest();
  void hand_back();
  void queue_step(BlockRequest& request);
  void issue_queued();
  BlockRequest* take_queued(bool outbound_too);
  bool take_bounce(BlockRequest& request);
  void prepare(BlockRequest& request);
  void put_back(BlockRequest& request);
  void issue(BlockRequest& request);
  int64_t call(BlockRequest& request);
  bool must_be_durable(const BlockRequest& request) const noexcept;
  bool refuses_flush(const BlockRequest& request);
  void note_end(const BlockRequest& request, int error);
  void give_back_bounce(BlockRequest& request);
  void finish(BlockRequest& request, int error);
  void lose(const std::string& why);
  void unwatch();
  void start_reconnecting();
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
  std::vector<BlockRequest*> in_flight_;  // all that were submitted and not finished
  // Those of them whose next step libnbd does not have yet, oldest first. It gets a command only when it can send it at
  // once: what it sends later, from within whatever call, nobody could hold back.
  std::deque<BlockRequest*> queued_;
  bool is_sending_ = false;             // libnbd has bytes of a command that the socket did not take
  std::vector<BlockRequest*> stepped_;  // libnbd's callbacks fill it; it must not be called from within them
  bool handing_back_ = false;
  bool issuing_ = false;
  Unflushed unflushed_;
  const bool lost_server_;
  BouncePool bounces_;
  NbdReconnector reconnector_;
};

}  // namespace kemari
