#include "hermes_shm/platform/topology.h"

#include "platform/machine_hwloc.h"

namespace hshm {
namespace {

/** CPUs on which some thread of this process may run; all allowed ones where no system tells. */
Bitmap UsableCpus(hwloc_topology_t topology) {
  Bitmap cpus(hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology)));
  const Bitmap bound(hwloc_bitmap_alloc());
  if (cpus == nullptr || bound == nullptr) ThrowUnreadable("hwloc_bitmap_alloc");
  const bool is_known = hwloc_get_cpubind(topology, bound.get(), HWLOC_CPUBIND_PROCESS) == 0;
  if (is_known && hwloc_bitmap_intersects(cpus.get(), bound.get())) {
    hwloc_bitmap_and(cpus.get(), cpus.get(), bound.get());
  }
  return cpus;
}

}  // namespace

Topology DiscoverTopology() {
  const TopologyHandle handle = LoadMachine();
  const std::vector<hwloc_obj_t> nodes = NodesWithCpus(handle.get());
  Topology topology;
  topology.is_simulated_ = hwloc_topology_is_thissystem(handle.get()) == 0;
  if (!nodes.empty()) topology.node_count_ = static_cast<uint32_t>(nodes.size());

  const Bitmap cpus = UsableCpus(handle.get());
  for (uint32_t node = 0; node < nodes.size(); ++node) {
    if (hwloc_bitmap_intersects(nodes[node]->cpuset, cpus.get())) topology.usable_nodes_.Add(node);
  }
  if (topology.usable_nodes_.Count() == 0) {  // CPUs of no node: anywhere is as good
    for (uint32_t node = 0; node < topology.node_count_; ++node) topology.usable_nodes_.Add(node);
  }
  return topology;
}

}  // namespace hshm
