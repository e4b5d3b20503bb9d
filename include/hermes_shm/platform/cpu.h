#ifndef HSHM_PLATFORM_CPU_H_
#define HSHM_PLATFORM_CPU_H_

#include "hermes_shm/base/macros.h"

namespace hshm {

/** Tells the core that the caller spins; costs some ten cycles. */
HSHM_INLINE void RelaxCpu() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#else
  __asm__ __volatile__("" ::: "memory");
#endif
}

/** Lets another thread run on this core, if one is ready. */
HSHM_API void YieldCpu() noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_CPU_H_
