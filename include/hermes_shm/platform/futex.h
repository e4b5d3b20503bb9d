#ifndef HSHM_PLATFORM_FUTEX_H_
#define HSHM_PLATFORM_FUTEX_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"

/** Sleeping until a word changes, across processes that map it at different addresses. */
namespace hshm {

/**
 * Sleeps while *word is `expected`, for at most timeout_us. Returns early when woken, when the word
 * has another value already, and now and then for no reason: callers look again.
 */
HSHM_API void FutexWait(const void* word, uint32_t expected, uint64_t timeout_us) noexcept;

/** Wakes up to `count` sleepers of any process. */
HSHM_API void FutexWake(const void* word, uint32_t count) noexcept;

/** Microseconds of a clock that never goes back and that all processes of the machine share. */
HSHM_API uint64_t MonotonicUs() noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_FUTEX_H_
