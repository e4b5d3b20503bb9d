#include "hermes_shm/platform/cpu.h"

#include <sched.h>

namespace hshm {

void YieldCpu() noexcept { sched_yield(); }

}  // namespace hshm
