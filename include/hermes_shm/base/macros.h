#ifndef HSHM_BASE_MACROS_H_
#define HSHM_BASE_MACROS_H_

#include "hermes_shm/base/config.h"

/**
 * Spelling that the language itself cannot give: where a function runs, what a shared library
 * shows, and which way a branch usually goes.
 */

#if defined(__CUDACC__) || defined(__HIPCC__)
#define HSHM_HOST_FUN __host__
#define HSHM_GPU_FUN __device__
#define HSHM_CROSS_FUN __host__ __device__
#else
#define HSHM_HOST_FUN
#define HSHM_GPU_FUN
#define HSHM_CROSS_FUN
#endif

#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
#define HSHM_IS_HOST 0
#define HSHM_IS_GPU 1
#else
#define HSHM_IS_HOST 1
#define HSHM_IS_GPU 0
#endif

#define HSHM_INLINE inline __attribute__((always_inline))
#define HSHM_INLINE_CROSS_FUN HSHM_CROSS_FUN HSHM_INLINE
#define HSHM_NOINLINE __attribute__((noinline))

/** Visible outside the shared library; everything else is hidden. */
#define HSHM_API __attribute__((visibility("default")))

#define HSHM_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define HSHM_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#endif  // HSHM_BASE_MACROS_H_
