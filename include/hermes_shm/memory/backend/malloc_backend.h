#ifndef HSHM_MEMORY_BACKEND_MALLOC_BACKEND_H_
#define HSHM_MEMORY_BACKEND_MALLOC_BACKEND_H_

#include <cstddef>

#include "hermes_shm/memory/backend/memory_backend.h"

namespace hshm::ipc {

/**
 * A region in private memory from malloc, for one process and all its threads. Freed when the
 * object goes. Its memory is not given back before; Commit always succeeds.
 */
class HSHM_API MallocBackend : public MemoryBackend {
 public:
  static constexpr MemoryBackendType kType = MemoryBackendType::kMallocBackend;

  MallocBackend() noexcept : MemoryBackend(kType) {}

  /** @throws Error kOutOfRange below kMinRegionBytes, kNoSpace when malloc has no room */
  void shm_init(MemoryBackendId id, size_t size);
};
static_assert(Backend<MallocBackend>);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_MALLOC_BACKEND_H_
