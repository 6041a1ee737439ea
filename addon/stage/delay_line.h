// A cable that is long: what is sent at one end arrives at the other after a time. For stages on kernels that have no
// such queue (netem).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "ring/net/tap.h"
#include "unique_fd.h"

namespace kemari {

// Its ends are interfaces that it makes, in two network namespaces; they are down, and gone when it is closed.
class DelayLine {
 public:
  struct End {
    std::string namespace_path;  // as of setns(2)
    std::string device;          // to be made there
  };

  // Throws what Tap throws, and KEMARI_NET_TAP for a namespace that cannot be entered.
  DelayLine(const End& near, const End& far, int64_t delay_ns);
  ~DelayLine();  // close()
  DelayLine(const DelayLine&) = delete;
  DelayLine& operator=(const DelayLine&) = delete;

  // What is under way is lost. Idempotent.
  void close() noexcept;

 private:
  struct Frame {
    int64_t due_ns;
    std::vector<uint8_t> bytes;  // with the header that says what of it is left to do (checksum, segments)
  };
  struct Way {
    Tap* from;
    Tap* to;
    std::deque<Frame> frames;  // due_ns ascends
    size_t queued_bytes;
  };

  void run();
  void take(Way& way);
  static void give(Way& way);
  void wait();

  int64_t delay_ns_;
  Tap near_;
  Tap far_;
  std::array<Way, 2> ways_;
  std::vector<uint8_t> room_;
  UniqueFd wake_;
  std::atomic<bool> closing_{false};
  std::thread thread_;
};

}  // namespace kemari
