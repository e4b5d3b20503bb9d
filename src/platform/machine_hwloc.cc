#include "platform/machine_hwloc.h"

#include <algorithm>
#include <cerrno>
#include <string>

#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/topology.h"

namespace hshm {

void ThrowUnreadable(const char* call) {
  throw Error(ErrorCode::kSystem,
              std::string(call) +
                  " failed, so the machine's NUMA nodes are unknown: check HWLOC_SYNTHETIC and "
                  "HWLOC_XMLFILE, or give the units yourself.",
              errno);
}

TopologyHandle LoadMachine() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) ThrowUnreadable("hwloc_topology_init");
  TopologyHandle topology(raw);
  if (hwloc_topology_set_flags(raw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0) {
    ThrowUnreadable("hwloc_topology_set_flags");
  }
  if (hwloc_topology_load(raw) != 0) ThrowUnreadable("hwloc_topology_load");
  return topology;
}

std::vector<hwloc_obj_t> NodesWithCpus(hwloc_topology_t topology) {
  std::vector<hwloc_obj_t> nodes;
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr) {
    const hwloc_const_cpuset_t cpus = node->cpuset;
    if (cpus == nullptr || hwloc_bitmap_iszero(cpus)) continue;
    const auto lies_inside = [cpus](hwloc_obj_t other) {
      return hwloc_bitmap_isincluded(other->cpuset, cpus) != 0;
    };
    if (std::any_of(nodes.begin(), nodes.end(), lies_inside)) continue;
    const auto has_inside = [cpus](hwloc_obj_t other) {
      return hwloc_bitmap_isincluded(cpus, other->cpuset) != 0;
    };
    std::erase_if(nodes, has_inside);
    if (nodes.size() < kMaxNumaNodes) nodes.push_back(node);
  }
  return nodes;
}

}  // namespace hshm
