#pragma once

#include <memory>

#include "ring/event_loop.h"

namespace kemari {

// An event loop on io_uring; nullptr where the kernel refuses one.
std::unique_ptr<EventLoop> create_uring_loop();
// An event loop on epoll. Throws KEMARI_EVENT_LOOP.
std::unique_ptr<EventLoop> create_epoll_loop();

}  // namespace kemari
