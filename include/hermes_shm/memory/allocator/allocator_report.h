#ifndef HSHM_MEMORY_ALLOCATOR_ALLOCATOR_REPORT_H_
#define HSHM_MEMORY_ALLOCATOR_ALLOCATOR_REPORT_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/memory/allocator/allocator_header.h"

/** Looking at an allocator from outside, for tools; see segment_report.h for the segment. */
namespace hshm::ipc {

/** Which allocator a segment of this capacity holds, read from its file; kNone when none is made
 * yet, or the file is not that long. */
HSHM_API AllocatorType ReadAllocatorType(int fd, uint64_t region_bytes) noexcept;

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_ALLOCATOR_REPORT_H_
