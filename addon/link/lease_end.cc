#include "link/lease_end.h"

#include <utility>

#include "link/lease_clock.h"
#include "link/thread_priority.h"

namespace kemari {

LeaseEnd::LeaseEnd(UniqueFd socket, std::optional<PskSecret> secret, bool is_primary, RecordType expected,
                   Options options)
    : connection_(std::move(socket), std::move(secret), is_primary), options_(std::move(options)), inbox_(expected) {}

LeaseEnd::~LeaseEnd() {
  KEMARI_ASSERT(!thread_.joinable());
}

void LeaseEnd::start() {
  thread_ = std::thread([this] { run(); });
}

void LeaseEnd::stop() {
  connection_.stop();
  if (thread_.joinable()) thread_.join();
}

void LeaseEnd::run() {
  prefer_this_thread(kLeaseNice);
  try {
    if (!connection_.secure(options_.connect_by)) return;
  } catch (const Error& error) {
    return options_.refused(error);
  }
  options_.secured();
  try {
    talk();
  } catch (const Error&) {
    if (connection_.rest(waiting_until(runs_out_at()))) has_run_out();
  }
  connection_.say_end();
}

std::optional<LeaseEnd::Heard> LeaseEnd::listen(BootClock::time_point wake) {
  const std::optional<size_t> count = connection_.read(inbox_.room(), waiting_until(wake));
  if (!count) return std::nullopt;
  if (*count == 0) return Heard{.is_stopped = true, .renewal = {}};
  return Heard{.is_stopped = false, .renewal = inbox_.take(*count)};
}

}  // namespace kemari
