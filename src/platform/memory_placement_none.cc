#include "hermes_shm/base/check.h"
#include "hermes_shm/platform/memory_placement.h"
#include "platform/present_pages.h"

namespace hshm {

MemoryPlacer::~MemoryPlacer() { HSHM_CHECK(machine_.load() == nullptr); }  // nobody looked

bool MemoryPlacer::Place(void*, uint64_t, uint32_t) noexcept { return false; }
bool MemoryPlacer::Unplace(void*, uint64_t) noexcept { return false; }

/** Without hwloc every machine has one node, on which everything lies. */
MemoryLocation MemoryPlacer::Locate(const void* base, uint64_t size_bytes) {
  MemoryLocation location;
  location.bytes_on_node_.resize(1);
  location.bytes_absent_ = VisitPresentRuns(base, size_bytes, [&](const char*, uint64_t run_bytes) {
    location.bytes_on_node_[0] += run_bytes;
  });
  return location;
}

}  // namespace hshm
