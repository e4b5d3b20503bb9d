/** The C allocation interface: C23, POSIX.1-2024, and what glibc has beside it. See docs/malloc.md.
 */
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <limits>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/platform/page.h"
#include "malloc/runtime.h"

#define HSHM_EXPORT extern "C" __attribute__((visibility("default")))

// The C library declares some of these with other attributes; the definitions here are the ones
// that programs get.
namespace library = hshm::malloc_library;

namespace {

void* Fail(int error) noexcept {
  errno = error;
  return nullptr;
}

bool Multiply(size_t count, size_t size_bytes, size_t* bytes) noexcept {
  return !__builtin_mul_overflow(count, size_bytes, bytes);
}

/** Bytes as an int of the old interface has them. */
int Clamped(size_t bytes) noexcept {
  return static_cast<int>(std::min<size_t>(bytes, std::numeric_limits<int>::max()));
}

}  // namespace

HSHM_EXPORT void* malloc(size_t size) noexcept { return library::Allocate(size); }

HSHM_EXPORT void free(void* block) noexcept { library::Free(block); }

HSHM_EXPORT void* calloc(size_t count, size_t size) noexcept {
  size_t bytes = 0;
  if (HSHM_UNLIKELY(!Multiply(count, size, &bytes))) return Fail(ENOMEM);
  return library::AllocateZeroed(bytes);
}

/** As glibc: of size 0 it frees and returns null. */
HSHM_EXPORT void* realloc(void* block, size_t size) noexcept {
  if (block == nullptr) return library::Allocate(size);
  if (size != 0) return library::Reallocate(block, size);
  library::Free(block);
  return nullptr;
}

HSHM_EXPORT void* reallocarray(void* block, size_t count, size_t size) noexcept {
  size_t bytes = 0;
  if (!Multiply(count, size, &bytes)) return Fail(ENOMEM);
  return realloc(block, bytes);
}

// ---- aligned -----------------------------------------------------------------------------------

HSHM_EXPORT int posix_memalign(void** result, size_t alignment, size_t size) noexcept {
  if (!hshm::bits::IsPowerOfTwo(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  const int former_errno = errno;
  void* const block = library::AllocateAligned(size, alignment);
  errno = former_errno;
  if (block == nullptr) return ENOMEM;
  *result = block;
  return 0;
}

HSHM_EXPORT void* aligned_alloc(size_t alignment, size_t size) noexcept {
  if (!hshm::bits::IsPowerOfTwo(alignment)) return Fail(EINVAL);
  return library::AllocateAligned(size, alignment);
}

/** As glibc: an alignment that is no power of two is rounded up to one. */
HSHM_EXPORT void* memalign(size_t alignment, size_t size) noexcept {
  constexpr size_t kLargest = ~(~size_t{0} >> 1);
  if (alignment > kLargest) return Fail(EINVAL);
  const size_t rounded = size_t{1} << hshm::bits::CeilLog2(alignment);
  return library::AllocateAligned(size, rounded);
}

HSHM_EXPORT void* valloc(size_t size) noexcept {
  return library::AllocateAligned(size, hshm::SystemPageBytes());
}

HSHM_EXPORT void* pvalloc(size_t size) noexcept {
  const size_t page = hshm::SystemPageBytes();
  if (size > std::numeric_limits<size_t>::max() - page) return Fail(ENOMEM);
  return library::AllocateAligned(std::max(hshm::bits::AlignUp(size, page), page), page);
}

// ---- about blocks and the heap -----------------------------------------------------------------

HSHM_EXPORT size_t malloc_usable_size(void* block) noexcept {
  return block == nullptr ? 0 : library::UsableBytes(block);
}

/** The heap keeps nothing on top of what is asked for, so there is no pad. */
HSHM_EXPORT int malloc_trim(size_t) noexcept { return library::Trim() ? 1 : 0; }

/** None of glibc's parameters has a counterpart here: all are refused. */
HSHM_EXPORT int mallopt(int, int) noexcept { return 0; }

HSHM_EXPORT struct mallinfo2 mallinfo2() noexcept {
  struct mallinfo2 info = {};
  hshm::ipc::AllocatorStats stats;
  if (!library::GetStats(&stats)) return info;
  for (const hshm::ipc::RankStats& rank : stats.ranks_) info.arena += rank.unit_bytes_;
  info.ordblks = 0;
  for (const hshm::ipc::SizeClassStats& one : stats.classes_) info.ordblks += one.free_blocks_;
  info.uordblks = stats.live_bytes_;
  info.arena = std::max(info.arena, info.uordblks);
  info.fordblks = info.arena - info.uordblks;
  return info;
}

HSHM_EXPORT struct mallinfo mallinfo() noexcept {
  const struct mallinfo2 wide = mallinfo2();
  struct mallinfo info = {};
  info.arena = Clamped(wide.arena);
  info.ordblks = Clamped(wide.ordblks);
  info.uordblks = Clamped(wide.uordblks);
  info.fordblks = Clamped(wide.fordblks);
  return info;
}

HSHM_EXPORT void malloc_stats() noexcept {
  hshm::ipc::AllocatorStats stats;
  if (!library::GetStats(&stats)) return;
  std::fputs(stats.ToText().c_str(), stderr);
}

HSHM_EXPORT int malloc_info(int options, FILE* stream) noexcept {
  if (options != 0) {
    errno = EINVAL;
    return -1;
  }
  hshm::ipc::AllocatorStats stats;
  if (!library::GetStats(&stats)) return Fail(ENOMEM), -1;
  const int printed = std::fprintf(stream,
                                   "<malloc version=\"hshm-1\">\n"
                                   "<total type=\"live\" count=\"%" PRIu64 "\" size=\"%" PRIu64
                                   "\"/>\n"
                                   "<system type=\"current\" size=\"%" PRIu64
                                   "\"/>\n"
                                   "<system type=\"max\" size=\"%" PRIu64
                                   "\"/>\n"
                                   "</malloc>\n",
                                   stats.live_blocks_, stats.live_bytes_, stats.committed_bytes_,
                                   stats.capacity_bytes_);
  return printed < 0 ? -1 : 0;
}

// ---- other names -------------------------------------------------------------------------------

/** Left out of glibc's headers, called by old programs. */
HSHM_EXPORT void cfree(void* block) noexcept { library::Free(block); }

// What glibc exports for libraries that wrap malloc themselves.
HSHM_EXPORT void* __libc_malloc(size_t size) noexcept { return library::Allocate(size); }
HSHM_EXPORT void __libc_free(void* block) noexcept { library::Free(block); }
HSHM_EXPORT void* __libc_calloc(size_t count, size_t size) noexcept { return calloc(count, size); }
HSHM_EXPORT void* __libc_realloc(void* block, size_t size) noexcept { return realloc(block, size); }
HSHM_EXPORT void* __libc_memalign(size_t alignment, size_t size) noexcept {
  return memalign(alignment, size);
}
HSHM_EXPORT void* __libc_valloc(size_t size) noexcept { return valloc(size); }
HSHM_EXPORT void* __libc_pvalloc(size_t size) noexcept { return pvalloc(size); }
HSHM_EXPORT int __posix_memalign(void** result, size_t alignment, size_t size) noexcept {
  return posix_memalign(result, alignment, size);
}
