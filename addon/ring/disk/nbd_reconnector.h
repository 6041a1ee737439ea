// A thread that connects to an NBD server again, for a back-end that has lost it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "ring/disk/nbd_connection.h"
#include "unique_fd.h"

namespace kemari {

// All calls on one thread.
class NbdReconnector {
 public:
  static constexpr std::chrono::milliseconds kConnectTimeout{10'000};
  // A round: so many attempts, the pause between them doubling from the first to the last value.
  static constexpr int kAttempts = 60;
  static constexpr std::chrono::milliseconds kFirstPause{100};
  static constexpr std::chrono::milliseconds kLastPause{5'000};

  struct Outcome {
    std::unique_ptr<NbdConnection> connection;  // empty: the round has ended without
    std::string failure;                        // why, of its last attempt; empty also where no round has ended
  };

  explicit NbdReconnector(std::string uri) : uri_(std::move(uri)) {}
  ~NbdReconnector();  // waits for an attempt under way, which notices soon
  NbdReconnector(const NbdReconnector&) = delete;
  NbdReconnector& operator=(const NbdReconnector&) = delete;

  // Makes the eventfd. Throws KEMARI_DISK_WORKERS.
  void open();
  // Becomes readable when a round has ended: then take().
  int fd() const noexcept { return ended_.get(); }
  // Begins a round unless one is under way or has brought a connection that was not taken.
  void start();
  Outcome take();

 private:
  void run();
  void round(std::unique_lock<std::mutex>& lock);

  const std::string uri_;
  UniqueFd ended_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool running_ = false;  // a round is under way
  bool ending_ = false;
  Outcome outcome_;
  std::thread thread_;  // from the first round on
};

}  // namespace kemari
