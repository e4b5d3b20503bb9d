#ifndef HSHM_PLATFORM_PAGE_H_
#define HSHM_PLATFORM_PAGE_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"

namespace hshm {

/** Bytes of one page of this system, the unit in which memory is mapped: a power of two. */
HSHM_API uint64_t SystemPageBytes() noexcept;

/**
 * Finds out which of `count` mapped pages somebody has touched, be it another process, and maps
 * these here; gives no memory to a page that has none. `base` is the start of a
 * page; is_present[i] becomes 0 or 1. Before Linux 5.14 a page may stay unmapped.
 * @return 0 or the errno, ENOMEM when a part of the range is not mapped
 */
[[nodiscard]] HSHM_API int FindPresentPages(const void* base, uint64_t count,
                                            unsigned char* is_present) noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_PAGE_H_
