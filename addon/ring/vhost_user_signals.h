// The eventfds by which a vhost-user front-end and a queue's back-end wake each other (vhost-user: Ring states).
#pragma once

#include "ring/event_loop.h"
#include "unique_fd.h"

namespace kemari {

struct VhostUserSignals {
  // Takes over a kick descriptor; `loop` serves it with `kicked`. What it had counted is forgotten.
  template <typename Kicked>
  void set_kick(EventLoop& loop, UniqueFd fd, Kicked kicked) {
    stop_kicks(loop);
    kick = std::move(fd);
    drain_kicks();
    loop.add(kick.get(), std::move(kicked));
  }
  void stop_kicks(EventLoop& loop) {
    if (!kick.valid()) return;
    loop.remove(kick.get());
    kick.reset();
  }
  // A front-end names it after the kick: what was published in between still has to be told.
  void set_call(UniqueFd fd);
  void call_driver();
  void report_error() const;

  UniqueFd kick;
  UniqueFd call;
  UniqueFd error;
  bool call_missed = false;  // the guest was to be called, but there was no descriptor yet

 private:
  void drain_kicks() const;
};

// Throws KEMARI_VHOST_USER_FDS for whatever is not an eventfd: a pipe that is full or a file that is always ready would
// block or spin the thread. Makes it non-blocking.
void check_eventfd(const UniqueFd& fd);

}  // namespace kemari
