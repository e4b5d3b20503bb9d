#ifndef HSHM_BASE_DEFECTS_H_
#define HSHM_BASE_DEFECTS_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"

/**
 * The end of a program that broke a rule of an allocator: one function per defect, each prints one
 * line "hshm: <Defect>: <sentence>" to standard error and aborts. None allocates memory.
 */
namespace hshm::defect {

/** A free or reallocation of the null offset. */
[[noreturn]] HSHM_API void NullFree(const char* operation) noexcept;

/** A pointer or offset that lies outside of the region, or in its headers. */
[[noreturn]] HSHM_API void ForeignPointer(const char* operation, uint64_t offset,
                                          uint64_t region_bytes) noexcept;

/** An offset inside the region where no block that could be freed begins. */
[[noreturn]] HSHM_API void InvalidFree(const char* operation, uint64_t offset) noexcept;

/** A block that has been freed before. */
[[noreturn]] HSHM_API void DoubleFree(const char* operation, uint64_t offset) noexcept;

/** An alignment that is no power of two. */
[[noreturn]] HSHM_API void BadAlignment(const char* operation, uint64_t alignment) noexcept;

/** Words of a page, unit or list that no sequence of correct calls can have produced. */
[[noreturn]] HSHM_API void Corruption(const char* what, uint64_t offset) noexcept;

/** A lock that its caller does not hold. */
[[noreturn]] HSHM_API void NotTheHolder(const char* operation, uint64_t word) noexcept;

/** A call on an allocator after its shm_detach, or before it was set up. */
[[noreturn]] HSHM_API void NotAttached(const char* operation) noexcept;

}  // namespace hshm::defect

#endif  // HSHM_BASE_DEFECTS_H_
