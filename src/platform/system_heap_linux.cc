#include "hermes_shm/platform/system_heap.h"

#include <malloc.h>

#include <cstdlib>

namespace hshm {
namespace {

/** What malloc itself aligns to, on every 64-bit system that this runs on. */
constexpr size_t kMallocAlignment = 16;
static_assert(alignof(std::max_align_t) <= kMallocAlignment);

}  // namespace

void* SystemAllocate(size_t size_bytes, size_t alignment) noexcept {
  if (HSHM_LIKELY(alignment <= kMallocAlignment)) return std::malloc(size_bytes);
  void* block = nullptr;
  return posix_memalign(&block, alignment, size_bytes) == 0 ? block : nullptr;
}

void* SystemReallocate(void* block, size_t new_bytes) noexcept {
  return std::realloc(block, new_bytes);
}

void SystemFree(void* block) noexcept { std::free(block); }

size_t SystemUsableBytes(void* block) noexcept { return malloc_usable_size(block); }

}  // namespace hshm
