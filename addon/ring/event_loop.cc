#include "ring/event_loop.h"

#include "ring/event_loop_kinds.h"

namespace kemari {

std::unique_ptr<EventLoop> EventLoop::create(bool allow_io_uring) {
  if (allow_io_uring) {
    if (std::unique_ptr<EventLoop> loop = create_uring_loop()) return loop;
  }
  return create_epoll_loop();
}

}  // namespace kemari
