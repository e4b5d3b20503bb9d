#ifndef HSHM_MEMORY_ALLOCATOR_AUTO_UNITS_H_
#define HSHM_MEMORY_ALLOCATOR_AUTO_UNITS_H_

#include <cstdint>
#include <span>
#include <string>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/multi_process/options.h"
#include "hermes_shm/platform/topology.h"

namespace hshm::ipc {

/** The smallest unit: one page of the page table. */
inline constexpr uint64_t kMinUnitBytes = 64_KiB;

/** A thread unit is at most this part of its process unit, so that several threads share one. */
inline constexpr uint64_t kThreadUnitsPerProcessUnit = 16;

/** What AutoUnits chooses from. The ranks of a node give the same, each with its own number. */
struct UnitRequest {
  uint64_t region_bytes_ = 0;
  uint32_t local_rank_ = 0;                // among the ranks that share the region
  uint32_t node_count_ = 1;                // NUMA nodes of the machine
  std::span<const NodeSet> usable_nodes_;  // one set a rank: the nodes whose CPUs it may use; of a
                                           // rank that names a node, that node alone
  MultiProcessOptions asked_;              // upper limits, and what AutoUnits has no say in; a
                                           // numa_node_ is this rank's, whatever CPUs it may use
};

/** A rank's NUMA node and units. */
struct UnitChoice {
  uint32_t node_ = 0;            // where the rank's memory should lie
  uint32_t node_count_ = 1;      // NUMA nodes of the machine
  uint32_t local_rank_ = 0;      // whose choice this is
  uint32_t local_size_ = 1;      // ranks that share the region
  uint32_t ranks_on_node_ = 1;   // of them those that got the same node
  bool is_named_ = false;        // the rank asked for this node
  bool is_bound_ = false;        // it did not, and may run on this one of several nodes only
  MultiProcessOptions options_;  // for MakeAlloc and AttachAlloc

  /**
   * "rank 3 of 8: node 1 of 4 (bound), process unit 64 MiB, thread unit 4 MiB". The brackets say
   * why it is that node: bound, as asked, or by rank. Where there is one node there are none.
   */
  HSHM_API std::string Describe() const;
};

/**
 * Chooses the NUMA node and the units of one rank. A rank that names a node gets it, and one that
 * may run inside one node only that node; any other gets number local_rank * n / local_size of the
 * n nodes that it may use. The units are placed there (numa_node_) if the machine has more than one
 * node.
 *
 * The region, less an eighth for headers and page table, is divided evenly among the nodes that
 * some rank got, and a node's part among its ranks: process unit = that, at most what was asked for
 * and at most the region's share of one rank; thread unit = at most what was asked for and a
 * sixteenth of the process unit. Both are rounded down to powers of two and are at least
 * kMinUnitBytes.
 *
 * A pure function: it looks at nothing but the request.
 * @throws Error kOutOfRange when the request has no ranks, local_rank_ is none of them, or the
 *   machine has no such node as was asked for
 */
HSHM_API UnitChoice AutoUnits(const UnitRequest& request);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_AUTO_UNITS_H_
