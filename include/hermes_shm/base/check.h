#ifndef HSHM_BASE_CHECK_H_
#define HSHM_BASE_CHECK_H_

#include "hermes_shm/base/macros.h"

/**
 * HSHM_CHECK(condition) stops the process when a rule was broken, in every build, before the damage
 * spreads through shared memory. HSHM_ASSERT is the same where HSHM_ENABLE_ASSERTS is 1 and costs
 * nothing elsewhere. In a kernel they trap, see HSHM_STOP_KERNEL. One condition each, so that the
 * message names the culprit.
 */

#ifndef HSHM_ENABLE_ASSERTS
#define HSHM_ENABLE_ASSERTS 0
#endif

namespace hshm::detail {
/** Prints "hshm: CHECK failed: text (file:line)" without allocating, then aborts. */
[[noreturn]] HSHM_API void CheckFailed(const char* text, const char* file, int line) noexcept;
}  // namespace hshm::detail

#if HSHM_IS_GPU
#define HSHM_CHECK(condition)                                              \
  do {                                                                     \
    if (HSHM_UNLIKELY(!(condition))) {                                     \
      HSHM_STOP_KERNEL("hshm: " #condition, __FILE__, __LINE__, __func__); \
    }                                                                      \
  } while (false)
#else
#define HSHM_CHECK(condition)                                      \
  do {                                                             \
    if (HSHM_UNLIKELY(!(condition))) {                             \
      ::hshm::detail::CheckFailed(#condition, __FILE__, __LINE__); \
    }                                                              \
  } while (false)
#endif

#if HSHM_ENABLE_ASSERTS
#define HSHM_ASSERT(condition) HSHM_CHECK(condition)
#else
#define HSHM_ASSERT(condition)  \
  do {                          \
    (void)sizeof(!(condition)); \
  } while (false)
#endif

#endif  // HSHM_BASE_CHECK_H_
