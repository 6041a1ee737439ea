// What a whole device has around it in a fuzz target: a guest's memory, a front-end at its socket, and its gate.
#pragma once

#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <utility>

#include "front_end.h"

namespace kemari::fuzz {

class World {
 public:
  World() : World(connected()) {}

  // Of the device under test, which takes its end of the socket: once.
  RingDevice::Options options(bool allow_io_uring) {
    return {.name = "fuzz",
            .socket = std::move(device_side_),
            .gate = gate,
            .allow_io_uring = allow_io_uring,
            .on_event = [this](const DeviceEvent& event) { ending_.on_event(event); }};
  }

  // Plays `step` until it says that nothing more is to come, and then `hang_up`, once, as the front-end goes: a queue
  // that drains must not wait for a gate that is closed.
  template <typename Device, typename Step, typename HangUp>
  void play(Device& device, Step&& step, HangUp&& hang_up) {
    bool hung_up = false;
    run_device(device, ending_, [&] {
      if (step()) return true;
      if (!std::exchange(hung_up, true)) {
        shutdown(front_end_side_.get(), SHUT_WR);
        hang_up();
        gate->open();
      }
      return false;
    });
  }

 private:
  struct Sides {
    UniqueFd front_end;
    UniqueFd device;
  };

  static Sides connected() {
    int sockets[2];
    KEMARI_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    return {UniqueFd(sockets[0]), UniqueFd(sockets[1])};
  }

  static int ram_fd() {
    static const UniqueFd fd = make_ram_fd();
    return fd.get();
  }

  static RamFile& zeroed_ram() {
    static const std::shared_ptr<RamFile> file = RamFile::map(ram_fd());
    std::memset(file->data(), 0, file->size_bytes());
    return *file;
  }

  explicit World(Sides sides) : front_end_side_(std::move(sides.front_end)), device_side_(std::move(sides.device)) {}

  UniqueFd front_end_side_;
  UniqueFd device_side_;
  Ending ending_;

 public:
  RamFile& ram = zeroed_ram();
  const std::shared_ptr<OutputGate> gate = std::make_shared<OutputGate>();
  FrontEnd front_end{front_end_side_.get(), ram_fd()};
};

}  // namespace kemari::fuzz
