#include "link/thread_priority.h"

#include <sys/resource.h>
#include <unistd.h>

namespace kemari {

void prefer_this_thread(int nice) noexcept {
  // On Linux this is about one thread (setpriority(2), "C library/kernel differences"). Refused without privilege.
  static_cast<void>(setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), nice));
}

}  // namespace kemari
