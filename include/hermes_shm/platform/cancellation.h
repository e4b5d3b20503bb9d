#ifndef HSHM_PLATFORM_CANCELLATION_H_
#define HSHM_PLATFORM_CANCELLATION_H_

#include "hermes_shm/base/macros.h"

/** Keeps the calling thread from being cancelled while it holds something that must be let go. */
namespace hshm {

/** @return what RestoreCancellation needs; pairs of the two may nest */
HSHM_API int DisableCancellation() noexcept;
HSHM_API void RestoreCancellation(int former) noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_CANCELLATION_H_
