#ifndef HSHM_PLATFORM_MEMORY_PLACEMENT_H_
#define HSHM_PLATFORM_MEMORY_PLACEMENT_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "hermes_shm/base/macros.h"

/**
 * Where memory lies and where it should. memory_placement_hwloc.cc asks hwloc (2.x);
 * memory_placement_none.cc knows one node and places nothing. Nodes are numbered as Topology does.
 */
namespace hshm {

/** How much of a range lies on which node. All the bytes are counted, each once. */
struct MemoryLocation {
  std::vector<uint64_t> bytes_on_node_;  // one for each node of the machine
  uint64_t bytes_elsewhere_ = 0;         // on no such node (CXL, a device's memory), or unknown
  uint64_t bytes_absent_ = 0;            // never touched by anyone, or swapped out
};

/**
 * Places ranges of memory on NUMA nodes. Looks at the machine once, when it is first asked, which
 * takes milliseconds. All calls may come from several threads at once, also in a forked child.
 */
class HSHM_API MemoryPlacer {
 public:
  MemoryPlacer() noexcept = default;
  ~MemoryPlacer();
  MemoryPlacer(const MemoryPlacer&) = delete;
  MemoryPlacer& operator=(const MemoryPlacer&) = delete;

  /**
   * Whole system pages inside [base, base + size_bytes) that get their memory from now on, get it
   * from this node; when it is full, from others. Pages that are there stay. In a shared mapping of
   * a file in memory the wish belongs to the file: it holds for all processes, and for fallocate.
   * On Linux MPOL_PREFERRED_MANY of one node where the kernel has it, else MPOL_PREFERRED
   * (mbind(2)).
   * @return false, and nothing has changed, when there is no such node, the machine is a simulated
   *   one, the system refuses (a container without the right to mbind), or there is no hwloc
   */
  bool Place(void* base, uint64_t size_bytes, uint32_t node) noexcept;

  /** Takes the wishes for whole pages of the range back: the system decides, as for new memory.
   * @return as Place */
  bool Unplace(void* base, uint64_t size_bytes) noexcept;

  /**
   * Counts where each page lies that the range touches; gives no memory to pages that have none.
   * Linux does not tell of memory that a file took (fallocate) and nobody has touched: absent.
   * Memory that is given back meanwhile counts as absent, or where it was. Before Linux 5.14 pages
   * that this process has not touched yet may count as absent. On a simulated machine it is unknown
   * where memory lies.
   * @throws Error kSystem when hwloc cannot read the machine, or the range is not mapped
   */
  MemoryLocation Locate(const void* base, uint64_t size_bytes);

 private:
  struct Machine;
  const Machine* GetMachine() noexcept;

  std::atomic<const Machine*> machine_{nullptr};  // published once, then never changed
};

}  // namespace hshm

#endif  // HSHM_PLATFORM_MEMORY_PLACEMENT_H_
