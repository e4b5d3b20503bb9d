#ifndef HSHM_PLATFORM_PAGE_H_
#define HSHM_PLATFORM_PAGE_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"

namespace hshm {

/** Bytes of one page of this system, the unit in which memory is mapped: a power of two. */
HSHM_API uint64_t SystemPageBytes() noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_PAGE_H_
