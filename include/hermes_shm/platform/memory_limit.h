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

/** Memory of this machine in bytes; 0 when the system does not tell. */
struct MachineMemory {
  uint64_t available_bytes_ = 0;  // for new uses without swapping, as the system estimates it
  uint64_t total_bytes_ = 0;
};
HSHM_API MachineMemory MemoryOfMachine();

}  // namespace hshm

#endif  // HSHM_PLATFORM_MEMORY_LIMIT_H_
