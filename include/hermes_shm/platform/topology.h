#ifndef HSHM_PLATFORM_TOPOLOGY_H_
#define HSHM_PLATFORM_TOPOLOGY_H_

#include <array>
#include <bit>
#include <cstdint>

#include "hermes_shm/base/check.h"
#include "hermes_shm/base/macros.h"

/**
 * The NUMA nodes of this machine and where on it the calling process may run. topology_hwloc.cc
 * asks hwloc (2.x); topology_none.cc knows one node. Nothing here binds anything.
 */
namespace hshm {

/** Most NUMA nodes that a Linux kernel can be built for (CONFIG_NODES_SHIFT is at most 10). */
inline constexpr uint32_t kMaxNumaNodes = 1024;

/** A set of NUMA nodes by number. Trivially copyable, so that ranks can send it to each other. */
class NodeSet {
 public:
  void Add(uint32_t node) {
    HSHM_CHECK(node < kMaxNumaNodes);
    words_[node / 64] |= uint64_t{1} << (node % 64);
  }

  bool Contains(uint32_t node) const {
    return node < kMaxNumaNodes && (words_[node / 64] >> (node % 64) & 1) != 0;
  }

  uint32_t Count() const {
    uint32_t count = 0;
    for (const uint64_t word : words_) count += static_cast<uint32_t>(std::popcount(word));
    return count;
  }

  /** The member with `index` smaller ones; index must be below Count(). */
  uint32_t Nth(uint32_t index) const {
    HSHM_CHECK(index < Count());
    uint32_t node = 0;
    while (!Contains(node) || index-- != 0) ++node;
    return node;
  }

 private:
  std::array<uint64_t, kMaxNumaNodes / 64> words_{};
};

/**
 * What DiscoverTopology saw. Nodes are numbered 0 to node_count_ - 1, and only those count that
 * have CPUs: where several kinds of memory (DRAM and HBM) share the same CPUs, they are one node,
 * and memory without CPUs (CXL, a GPU's) is none. All processes of a machine see the same numbers,
 * also when each is confined to a part of it.
 */
struct Topology {
  uint32_t node_count_ = 1;    // at least 1
  NodeSet usable_nodes_;       // those on whose CPUs the calling process may run; never empty
  bool is_simulated_ = false;  // HWLOC_SYNTHETIC or HWLOC_XMLFILE shows another machine than this
};

/**
 * Looks at the machine; takes milliseconds. Where the process is bound counts for all its threads
 * together. On a simulated machine the process may run everywhere.
 * @throws Error kSystem when hwloc cannot read the machine
 */
HSHM_API Topology DiscoverTopology();

}  // namespace hshm

#endif  // HSHM_PLATFORM_TOPOLOGY_H_
