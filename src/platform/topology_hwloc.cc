#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/topology.h"

namespace hshm {
namespace {

struct TopologyDeleter {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using TopologyHandle = std::unique_ptr<hwloc_topology, TopologyDeleter>;

struct BitmapDeleter {
  void operator()(hwloc_bitmap_s* bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, BitmapDeleter>;

[[noreturn]] void ThrowUnreadable(const char* call) {
  throw Error(ErrorCode::kSystem,
              std::string(call) +
                  " failed, so the machine's NUMA nodes are unknown: check HWLOC_SYNTHETIC and "
                  "HWLOC_XMLFILE, or give the units yourself.",
              errno);
}

/**
 * The whole machine, also what a control group keeps from this process: otherwise two ranks that
 * are confined to different nodes would both call theirs number 0.
 */
TopologyHandle Load() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) ThrowUnreadable("hwloc_topology_init");
  TopologyHandle topology(raw);
  if (hwloc_topology_set_flags(raw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0) {
    ThrowUnreadable("hwloc_topology_set_flags");
  }
  if (hwloc_topology_load(raw) != 0) ThrowUnreadable("hwloc_topology_load");
  return topology;
}

/**
 * The CPU sets of the nodes that have CPUs, each once, in hwloc's (logical) order. hwloc shows
 * memory without CPUs beside all CPUs of the package or machine that it belongs to, so a set that
 * has another node's inside is none.
 */
std::vector<hwloc_const_cpuset_t> NodeCpus(hwloc_topology_t topology) {
  std::vector<hwloc_const_cpuset_t> nodes;
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr) {
    const hwloc_const_cpuset_t cpus = node->cpuset;
    if (cpus == nullptr || hwloc_bitmap_iszero(cpus)) continue;
    const auto lies_inside = [cpus](hwloc_const_cpuset_t other) {
      return hwloc_bitmap_isincluded(other, cpus) != 0;
    };
    if (std::any_of(nodes.begin(), nodes.end(), lies_inside)) continue;
    const auto has_inside = [cpus](hwloc_const_cpuset_t other) {
      return hwloc_bitmap_isincluded(cpus, other) != 0;
    };
    std::erase_if(nodes, has_inside);
    if (nodes.size() < kMaxNumaNodes) nodes.push_back(cpus);
  }
  return nodes;
}

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
  const TopologyHandle handle = Load();
  const std::vector<hwloc_const_cpuset_t> nodes = NodeCpus(handle.get());
  Topology topology;
  topology.is_simulated_ = hwloc_topology_is_thissystem(handle.get()) == 0;
  if (!nodes.empty()) topology.node_count_ = static_cast<uint32_t>(nodes.size());

  const Bitmap cpus = UsableCpus(handle.get());
  for (uint32_t node = 0; node < nodes.size(); ++node) {
    if (hwloc_bitmap_intersects(nodes[node], cpus.get())) topology.usable_nodes_.Add(node);
  }
  if (topology.usable_nodes_.Count() == 0) {  // CPUs of no node: anywhere is as good
    for (uint32_t node = 0; node < topology.node_count_; ++node) topology.usable_nodes_.Add(node);
  }
  return topology;
}

}  // namespace hshm
