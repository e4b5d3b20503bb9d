#ifndef HSHM_MEMORY_BACKEND_ARRAY_BACKEND_H_
#define HSHM_MEMORY_BACKEND_ARRAY_BACKEND_H_

#include <cstddef>

#include "hermes_shm/memory/backend/memory_backend.h"

namespace hshm::ipc {

/**
 * A region in an array that the caller has and keeps: embedded systems, tests, images of segments.
 * The array outlives the object. Its memory is never given back; Commit always succeeds.
 *
 * Which process slots are in use stands in the object, not in the array. So another object that
 * attaches to the same bytes, or to a copy of them, sees every process of before as dead: just what
 * looking at the image of a crash needs. Two objects must therefore not use one array at a time;
 * several handles of one object may.
 */
class HSHM_API ArrayBackend : public MemoryBackend {
 public:
  static constexpr MemoryBackendType kType = MemoryBackendType::kArrayBackend;

  ArrayBackend() noexcept : MemoryBackend(kType) {}

  /**
   * Makes a region of `size` bytes in the array and zeroes all of it.
   * @throws Error kOutOfRange below kMinRegionBytes, or when the array is not aligned to 64 bytes
   */
  void shm_init(MemoryBackendId id, size_t size, char* array);

  /** Uses the region that lies in the array. @throws the errors of CheckHeader; kOutOfRange */
  void shm_attach(char* array, size_t size);
};
static_assert(Backend<ArrayBackend>);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_ARRAY_BACKEND_H_
