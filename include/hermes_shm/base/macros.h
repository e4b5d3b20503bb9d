#ifndef HSHM_BASE_MACROS_H_
#define HSHM_BASE_MACROS_H_

#if __cplusplus < 202002L
#error "hshm needs C++20: compile with -std=c++20 or later."
#endif

#include "hermes_shm/base/config.h"

/**
 * Spelling that the language itself cannot give: where a function runs, what a shared library
 * shows, and which way a branch usually goes.
 */

/** Which compiler for kernels reads this, in both of its passes; always 0 or 1. */
#if defined(__HIPCC__)
#define HSHM_HIP_COMPILER 1
#define HSHM_CUDA_COMPILER 0
#elif defined(__CUDACC__)
#define HSHM_HIP_COMPILER 0
#define HSHM_CUDA_COMPILER 1
#else
#define HSHM_HIP_COMPILER 0
#define HSHM_CUDA_COMPILER 0
#endif

#if HSHM_HIP_COMPILER
#include <hip/hip_runtime.h>
#endif

#if HSHM_CUDA_COMPILER || HSHM_HIP_COMPILER
#define HSHM_HOST_FUN __host__
#define HSHM_GPU_FUN __device__
#define HSHM_CROSS_FUN __host__ __device__
#else
#define HSHM_HOST_FUN
#define HSHM_GPU_FUN
#define HSHM_CROSS_FUN
#endif

/** Which pass it is. Only inside of function bodies: declarations must be the same in both. */
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
#define HSHM_IS_HOST 0
#define HSHM_IS_GPU 1
#else
#define HSHM_IS_HOST 1
#define HSHM_IS_GPU 0
#endif

/**
 * Before a definition in a header that one .cc includes for the host, and the pass for kernels
 * everywhere: so the host has one copy, in the library, and its callers are compiled as ever.
 */
#if HSHM_IS_GPU
#define HSHM_KERNEL_COPY HSHM_CROSS_FUN inline
#else
#define HSHM_KERNEL_COPY
#endif

/**
 * The end of a kernel that broke a rule: prints text, place and lane to the program's standard
 * output or error, and traps; the next call of the GPU's runtime fails. Both runtimes have it.
 */
#if HSHM_IS_GPU
#define HSHM_STOP_KERNEL(text, file, line, function) \
  do {                                               \
    __assert_fail(text, file, line, function);       \
    __builtin_unreachable();                         \
  } while (false)
#endif

#ifndef HSHM_INLINE  // the build that counts branches makes it inline: copies have no names there
#define HSHM_INLINE inline __attribute__((always_inline))
#endif
#define HSHM_INLINE_CROSS_FUN HSHM_CROSS_FUN HSHM_INLINE
#define HSHM_NOINLINE __attribute__((noinline))

/** Before a function that reads memory on suspicion, which AddressSanitizer lets it do. */
#define HSHM_NO_SANITIZE_ADDRESS __attribute__((no_sanitize("address")))

/** Whether ThreadSanitizer watches, which does not see what assembly stores; 0 or 1. */
#if defined(__SANITIZE_THREAD__)
#define HSHM_THREAD_SANITIZER 1
#elif defined(__has_feature)
#define HSHM_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define HSHM_THREAD_SANITIZER 0
#endif

/** Visible outside the shared library; everything else is hidden. */
#define HSHM_API __attribute__((visibility("default")))

/** Fetches the cache line of an object in order to write to it: one way to the core that wrote to
 * it last, where a load and then a store go there twice. */
#if defined(__x86_64__) && HSHM_IS_HOST
#define HSHM_PREFETCH_TO_WRITE(object) asm volatile("prefetchw %0" : : "m"(object))
#else
#define HSHM_PREFETCH_TO_WRITE(object) __builtin_prefetch(&(object), 1)
#endif

#define HSHM_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define HSHM_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#endif  // HSHM_BASE_MACROS_H_
