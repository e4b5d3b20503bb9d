#ifndef HSHM_PLATFORM_SYSTEM_HEAP_H_
#define HSHM_PLATFORM_SYSTEM_HEAP_H_

#include <cstddef>

#include "hermes_shm/base/macros.h"

/** The system's malloc: memory of this process alone. Blocks go back by SystemFree only. */
namespace hshm {

/** size_bytes, not 0, aligned to `alignment`, a power of two. Null when there is no room. */
[[nodiscard]] HSHM_API void* SystemAllocate(size_t size_bytes, size_t alignment) noexcept;

/** Grows or shrinks a block to new_bytes, not 0, aligned to 16 from here on. Null when there is no
 * room, and then the old block is as it was. */
[[nodiscard]] HSHM_API void* SystemReallocate(void* block, size_t new_bytes) noexcept;

HSHM_API void SystemFree(void* block) noexcept;

/** Bytes that the block can hold: at least what was asked for, the same as long as it lives. */
HSHM_API size_t SystemUsableBytes(void* block) noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_SYSTEM_HEAP_H_
