#ifndef HSHM_SRC_PLATFORM_MACHINE_HWLOC_H_
#define HSHM_SRC_PLATFORM_MACHINE_HWLOC_H_

#include <hwloc.h>

#include <memory>
#include <vector>

/** The machine as hwloc shows it, for the platform files that ask hwloc. */
namespace hshm {

struct TopologyDeleter {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using TopologyHandle = std::unique_ptr<hwloc_topology, TopologyDeleter>;

struct BitmapDeleter {
  void operator()(hwloc_bitmap_s* bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, BitmapDeleter>;

[[noreturn]] void ThrowUnreadable(const char* call);

/**
 * The whole machine, also what a control group keeps from this process: otherwise two ranks that
 * are confined to different nodes would both call theirs number 0.
 * @throws Error kSystem when hwloc cannot read it
 */
TopologyHandle LoadMachine();

/**
 * The nodes that have CPUs, each set of CPUs once, in hwloc's (logical) order; of several kinds of
 * memory beside the same CPUs the first, which is DRAM. hwloc shows memory without CPUs beside all
 * CPUs of the package or machine that it belongs to, so a set that has another node's inside is
 * none. At most kMaxNumaNodes.
 */
std::vector<hwloc_obj_t> NodesWithCpus(hwloc_topology_t topology);

}  // namespace hshm

#endif  // HSHM_SRC_PLATFORM_MACHINE_HWLOC_H_
