#ifndef HSHM_PLATFORM_HUGE_PAGES_H_
#define HSHM_PLATFORM_HUGE_PAGES_H_

#include <cstdint>
#include <string>

#include "hermes_shm/base/macros.h"

/**
 * Pages larger than the system's. Transparent ones come when memory is first touched, where the
 * system is set to it, and only if a whole one is free then. Those of a pool (hugetlb) have been
 * set aside by the administrator.
 */
namespace hshm {

/** Bytes of a transparent huge page, a power of two; 0 when the system has none. */
HSHM_API uint64_t TransparentPageBytes();

/** How a setting of the system reads, where it is, and whether it gives huge pages to those who ask
 * by AskForHugePages. */
struct HugePageSetting {
  bool is_on_request_ = false;
  std::string value_;        // "never"; empty when there is no such setting
  std::string place_;        // "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
  int os_errno_ = 0;         // why it could not be read
  uint64_t page_bytes_ = 0;  // of the pages that it gives
};

/** For private pages. */
HSHM_API HugePageSetting PrivateHugePageSetting();
/** For files of CreateMemoryFile. */
HSHM_API HugePageSetting MemoryFileHugePageSetting();
/** For files of the file system that an open file lies on: its mount's option huge=. */
HSHM_API HugePageSetting MountHugePageSetting(int fd);

/** Asks for transparent huge pages when the range is touched (MADV_HUGEPAGE). @return 0, an errno
 */
[[nodiscard]] HSHM_API int AskForHugePages(void* base, uint64_t size_bytes) noexcept;

/**
 * Has every page of the range supplied, as touching them would, but fails where that would end in a
 * signal. What is there stays. @return 0, EFAULT when there is no memory, EINVAL before Linux 5.14
 */
[[nodiscard]] HSHM_API int PopulatePages(void* base, uint64_t size_bytes) noexcept;

/** Bytes of the mappings in a range that huge pages of either kind supply now, as this process has
 * touched them; 0 when the system does not tell, and why. */
HSHM_API uint64_t HugeBytesIn(const void* base, uint64_t size_bytes, int* os_errno = nullptr);

/** The smallest size of the pools' pages; 0 when the system has no pools. */
HSHM_API uint64_t PoolPageBytes();
/** Bytes of the pool of this page size that nobody has or was promised. */
HSHM_API uint64_t FreePoolBytes(uint64_t page_bytes);

/** Private pages from the pool, all promised to this process at once. @return 0, ENOMEM, an errno
 */
[[nodiscard]] HSHM_API int MapPrivateFromPool(uint64_t size_bytes, uint64_t page_bytes,
                                              void** base) noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_HUGE_PAGES_H_
