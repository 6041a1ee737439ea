// One end of the lease connection, on a thread of its own: what the primary's and the standby's have in common.
#pragma once

#include <functional>
#include <optional>
#include <thread>

#include "error.h"
#include "link/boot_clock.h"
#include "link/connection.h"
#include "link/lease_message.h"

namespace kemari {

// The thread calls virtuals, so the most derived class calls stop() in its destructor (asserted).
class LeaseEnd {
 public:
  struct Options {
    LinkClock::time_point connect_by;
    std::function<void()> secured;
    // The connection could not be secured. One that fails later proves nothing: its time runs out.
    std::function<void(const Error&)> refused;
  };

  virtual ~LeaseEnd();
  LeaseEnd(const LeaseEnd&) = delete;
  LeaseEnd& operator=(const LeaseEnd&) = delete;

  void start();
  // Ends the thread; idempotent.
  void stop();

 protected:
  LeaseEnd(UniqueFd socket, std::optional<PskSecret> secret, bool is_primary, RecordType expected, Options options);

  // Once the connection is secured: speaks and listens until it is stopped. Throws what ends the connection.
  virtual void talk() = 0;
  // When a connection that has ended begins to mean something, and what is done then.
  virtual BootClock::time_point runs_out_at() const = 0;
  virtual void has_run_out() = 0;

  void post(RecordType type, uint64_t renewal) { connection_.post(lease_message(type, renewal)); }
  struct Heard {
    bool is_stopped = false;
    std::optional<uint64_t> renewal;  // what a message was about, if one was whole
  };
  // Waits for a part of a message until `wake`; looks at the connection first, so that what came while this process
  // stood still is heard. nullopt: nothing came. Throws as LeaseInbox::take() and Connection::read().
  std::optional<Heard> listen(BootClock::time_point wake);

 private:
  void run();

  Connection connection_;
  Options options_;
  LeaseInbox inbox_;
  std::thread thread_;
};

}  // namespace kemari
