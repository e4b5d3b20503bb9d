#ifndef HSHM_BASE_DEFECTS_H_
#define HSHM_BASE_DEFECTS_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/base/types.h"

/**
 * The end of a program that broke a rule of an allocator: one function per defect, each prints one
 * line "hshm: <Defect>: <sentence>" to standard error and aborts. None allocates memory. In a
 * kernel those that kernels can reach name the defect, the operation and the lane, and trap.
 */
namespace hshm::defect {

/** A free or reallocation of the null offset. */
[[noreturn]] HSHM_API HSHM_CROSS_FUN void NullFree(const char* operation) noexcept;

/** A pointer or offset that lies outside of the region, or in its headers. */
[[noreturn]] HSHM_API HSHM_CROSS_FUN void ForeignPointer(const char* operation, uint64_t offset,
                                                         uint64_t region_bytes) noexcept;
/** A typed pointer that names another allocator than the one it was given to. */
[[noreturn]] HSHM_API HSHM_CROSS_FUN void ForeignPointer(const char* operation,
                                                         ipc::AllocatorId named,
                                                         ipc::AllocatorId here) noexcept;

/** An offset inside the region where no block that could be freed begins. */
[[noreturn]] HSHM_API HSHM_CROSS_FUN void InvalidFree(const char* operation,
                                                      uint64_t offset) noexcept;

/** A block that has been freed before. */
[[noreturn]] HSHM_API HSHM_CROSS_FUN void DoubleFree(const char* operation,
                                                     uint64_t offset) noexcept;

/** An alignment that is no power of two. */
[[noreturn]] HSHM_API HSHM_CROSS_FUN void BadAlignment(const char* operation,
                                                       uint64_t alignment) noexcept;

/** Words of a page, unit or list that no sequence of correct calls can have produced. */
[[noreturn]] HSHM_API HSHM_CROSS_FUN void Corruption(const char* what, uint64_t offset) noexcept;

/** A lock, or a lane of a multi-ring, that its caller does not hold. */
[[noreturn]] HSHM_API void NotTheHolder(const char* operation, uint64_t word) noexcept;

/** A call on an allocator after its shm_detach, or before it was set up. */
[[noreturn]] HSHM_API HSHM_CROSS_FUN void NotAttached(const char* operation) noexcept;

#if HSHM_IS_GPU
HSHM_CROSS_FUN inline void NullFree(const char* operation) noexcept {
  HSHM_STOP_KERNEL("NullFree: it was given the null offset", "hshm", 0, operation);
}
HSHM_CROSS_FUN inline void ForeignPointer(const char* operation, uint64_t, uint64_t) noexcept {
  HSHM_STOP_KERNEL("ForeignPointer: it was given an offset outside of the region's data", "hshm", 0,
                   operation);
}
HSHM_CROSS_FUN inline void ForeignPointer(const char* operation, ipc::AllocatorId,
                                          ipc::AllocatorId) noexcept {
  HSHM_STOP_KERNEL("ForeignPointer: it was given a pointer of another allocator", "hshm", 0,
                   operation);
}
HSHM_CROSS_FUN inline void InvalidFree(const char* operation, uint64_t) noexcept {
  HSHM_STOP_KERNEL("InvalidFree: no allocated block begins there", "hshm", 0, operation);
}
HSHM_CROSS_FUN inline void DoubleFree(const char* operation, uint64_t) noexcept {
  HSHM_STOP_KERNEL("DoubleFree: the block is free already", "hshm", 0, operation);
}
HSHM_CROSS_FUN inline void BadAlignment(const char* operation, uint64_t) noexcept {
  HSHM_STOP_KERNEL("BadAlignment: the alignment is not a power of two", "hshm", 0, operation);
}
HSHM_CROSS_FUN inline void Corruption(const char* what, uint64_t) noexcept {
  HSHM_STOP_KERNEL("Corruption: this cannot be right", "hshm", 0, what);
}
HSHM_CROSS_FUN inline void NotAttached(const char* operation) noexcept {
  HSHM_STOP_KERNEL("NotAttached: the view is of no allocator", "hshm", 0, operation);
}
#endif

/** A block that was about to be handed out, or listed, while a user has it: a link was overwritten,
 * or a block freed twice at one moment. */
[[noreturn]] HSHM_API void OverlappingBlock(const char* operation, uint64_t offset) noexcept;

/** A sized free of a block that was not allocated with that size. */
[[noreturn]] HSHM_API void WrongSize(const char* operation, uint64_t offset, uint64_t size_bytes,
                                     uint64_t block_bytes) noexcept;

/** The context of an arena that was popped, or of another handle's. */
[[noreturn]] HSHM_API void ClosedArena(const char* operation, uint32_t number) noexcept;

/** A container's handle that was neither made nor attached, or is detached, or destroyed. */
[[noreturn]] HSHM_API void EmptyHandle(const char* name) noexcept;

}  // namespace hshm::defect

#endif  // HSHM_BASE_DEFECTS_H_
