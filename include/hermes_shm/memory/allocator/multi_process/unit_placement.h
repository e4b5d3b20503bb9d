#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_UNIT_PLACEMENT_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_UNIT_PLACEMENT_H_

#include <cstdint>
#include <string>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/memory/backend/region.h"

namespace hshm::ipc {

/**
 * What became of a process's wish to have its units and large blocks on one NUMA node, in all that
 * it was granted so far, given back or not. A wish that stands is a preference: a full node gives
 * way to others. Where the pages lie in the end, MemoryPlacer::Locate says.
 */
struct UnitPlacement {
  uint32_t node_ = kAnyNode;    // as in MultiProcessOptions; kAnyNode: no wish
  uint64_t placed_bytes_ = 0;   // granted, and the system has the wish
  uint64_t refused_bytes_ = 0;  // granted, and the system places it as it likes

  /** "64 MiB placed on node 1", "64 MiB not placed on node 1", both, or empty without a wish. */
  HSHM_API std::string Describe() const;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_UNIT_PLACEMENT_H_
