// Whether another process is about to be gone.
#pragma once

#include <sys/types.h>

namespace kemari {

// It has ended, is ending, or has been killed and will end as soon as what it waits for is over.
bool is_dying(pid_t process);

}  // namespace kemari
