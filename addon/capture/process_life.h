// Whether another process is about to be gone.
#pragma once

#include <sys/types.h>

#include "unique_fd.h"

namespace kemari {

class ProcessLife {
 public:
  explicit ProcessLife(pid_t process);

  // It has ended, is ending, or has been killed and will end as soon as what it waits for is over.
  bool is_dying() const;

  // Its first thread is in close(): what it closes it closes by its own will, not because it ends. Costs next to
  // nothing.
  bool is_closing() const;

 private:
  bool is_exiting() const;
  bool is_killed() const;

  pid_t process_;
  UniqueFd system_call_;  // /proc/PID/task/PID/syscall
};

}  // namespace kemari
