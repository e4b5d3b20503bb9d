#ifndef HSHM_SRC_MEMORY_BACKEND_BIND_RANGE_H_
#define HSHM_SRC_MEMORY_BACKEND_BIND_RANGE_H_

#include "hermes_shm/memory/backend/memory_backend.h"
#include "hermes_shm/platform/memory_placement.h"

namespace hshm::ipc {

/** RegionServices::Bind for memory whose pages the backend has mapped itself, shared or private. */
inline bool BindRange(MemoryPlacer* placer, const BackendMemory& memory, Offset offset,
                      uint64_t size_bytes, uint32_t node) noexcept {
  HSHM_CHECK(offset <= memory.size_bytes());
  HSHM_CHECK(size_bytes <= memory.size_bytes() - offset);
  char* const begin = memory.base() + offset;
  return node == kAnyNode ? placer->Unplace(begin, size_bytes)
                          : placer->Place(begin, size_bytes, node);
}

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_BIND_RANGE_H_
