#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_OPTIONS_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_OPTIONS_H_

#include <cstdint>

#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/backend/region.h"

namespace hshm::ipc {

/** What becomes of the blocks that a process handed out when it dies without detaching. */
enum class OnDeath : uint32_t {
  kKeepLive = 0,  // they stay valid and anyone may free them
  kReclaim = 1,   // they are deleted by whoever finds the death
};

/** How one process takes part in a MultiProcessAllocator. Each process may choose its own. */
struct MultiProcessOptions {
  /** What the process takes from the root at a time, in bytes; clamped to the region's share. */
  uint64_t process_unit_bytes_ = 1_GiB;
  /** What a thread takes from its process at a time, in bytes; at most process_unit / 16. */
  uint64_t thread_unit_bytes_ = 16_MiB;
  /** Processes that will share the region; 0 when unknown (units then start small and double). */
  uint32_t expected_processes_ = 0;
  /** NUMA node, counted as Topology does, on which what this process takes from the root should
   * lie: a preference, see UnitPlacement. With kAnyNode no system call is made for it. */
  uint32_t numa_node_ = kAnyNode;
  OnDeath on_death_ = OnDeath::kKeepLive;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_OPTIONS_H_
