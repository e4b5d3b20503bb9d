#ifndef HSHM_MEMORY_ALLOCATOR_THREAD_LOCAL_ALLOCATOR_H_
#define HSHM_MEMORY_ALLOCATOR_THREAD_LOCAL_ALLOCATOR_H_

#include "hermes_shm/memory/allocator/multi_process_allocator.h"

namespace hshm::ipc {

/**
 * One page heap per thread of one process: the engine of the MultiProcessAllocator, in a region
 * that no second process may join. A thread allocates and frees its own blocks without a lock; a
 * free by another thread is one CAS. For private backends, and for shared or file-backed ones that
 * one process after the other uses.
 *
 * All that MultiProcessAllocator's page says of threads, sizes, handles, leaving and death holds
 * here. What differs:
 *
 * Attaching throws Error kUnsupported while another process has the heap. When that process has
 * detached or died, the next one may join, and adopts what it left. Several handles of one process
 * may be attached at once.
 *
 * A forked child of a process that has the heap on private memory goes on with its copy of it. On
 * shared memory it is a second process: as long as its parent has the heap, its allocations are
 * null. A block that it got from its parent it may free.
 */
using FastThreadLocalAllocator =
    BasicMultiProcessAllocator<multi_process::LargePages, multi_process::Sharing::kOneProcess>;
/** The same in the policy Checked. */
using CheckedThreadLocalAllocator = BasicMultiProcessAllocator<multi_process::CheckedLargePages,
                                                               multi_process::Sharing::kOneProcess>;

#if HSHM_CHECKED
using ThreadLocalAllocator = CheckedThreadLocalAllocator;
#else
using ThreadLocalAllocator = FastThreadLocalAllocator;
#endif
static_assert(CoreAllocator<ThreadLocalAllocator>);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_THREAD_LOCAL_ALLOCATOR_H_
