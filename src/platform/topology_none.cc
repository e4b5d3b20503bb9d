#include "hermes_shm/platform/topology.h"

namespace hshm {

/** Without hwloc every machine has one node, on which everything may run. */
Topology DiscoverTopology() {
  Topology topology;
  topology.usable_nodes_.Add(0);
  return topology;
}

}  // namespace hshm
