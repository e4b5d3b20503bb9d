#ifndef HSHM_PLATFORM_MEMORY_LIMIT_H_
#define HSHM_PLATFORM_MEMORY_LIMIT_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"

namespace hshm {

/**
 * The smallest memory limit of the control groups that hold this process, as far as the system
 * shows them (cgroup v2, and the memory controller of v1); all ones when there is none. Beyond it
 * the system kills instead of refusing.
 */
HSHM_API uint64_t MemoryLimitBytes();

}  // namespace hshm

#endif  // HSHM_PLATFORM_MEMORY_LIMIT_H_
