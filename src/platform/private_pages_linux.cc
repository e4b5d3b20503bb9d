#include "hermes_shm/platform/private_pages.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace hshm {

int MapPrivate(uint64_t size_bytes, ForkRule rule, void** base) noexcept {
  void* mapped = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return errno;
  if (rule == ForkRule::kWipe && madvise(mapped, size_bytes, MADV_WIPEONFORK) != 0) {
    const int error = errno;
    munmap(mapped, size_bytes);
    return error;
  }
  *base = mapped;
  return 0;
}

void DropPrivate(void* base, uint64_t size_bytes) noexcept {
  // Fails for locked pages alone: they stay.
  if (madvise(base, size_bytes, MADV_DONTNEED) != 0) std::memset(base, 0, size_bytes);
}

void UnmapPrivate(void* base, uint64_t size_bytes) noexcept { munmap(base, size_bytes); }

}  // namespace hshm
