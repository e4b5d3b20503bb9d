#ifndef HSHM_BASE_BITS_H_
#define HSHM_BASE_BITS_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"

/** Integer arithmetic on powers of two. All alignments and granules are powers of two. */
namespace hshm::bits {

/** As std::min and its like, which kernels of CUDA cannot call. */
template <typename T>
HSHM_CROSS_FUN constexpr T Min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
HSHM_CROSS_FUN constexpr T Max(T a, T b) {
  return a < b ? b : a;
}
template <typename T>
HSHM_CROSS_FUN constexpr T Clamp(T n, T low, T high) {
  return Min(Max(n, low), high);
}

/** Zero bits above the highest, and below the lowest, bit that is set; n must not be 0. */
HSHM_CROSS_FUN constexpr uint32_t LeadingZeros(uint64_t n) {
  return static_cast<uint32_t>(__builtin_clzll(n));
}
HSHM_CROSS_FUN constexpr uint32_t TrailingZeros(uint64_t n) {
#if HSHM_IS_GPU
  return 63 - LeadingZeros(n & (~n + 1));  // nvcc has no __builtin_ctzll
#else
  return static_cast<uint32_t>(__builtin_ctzll(n));
#endif
}

HSHM_CROSS_FUN constexpr bool IsPowerOfTwo(uint64_t n) { return n != 0 && (n & (n - 1)) == 0; }

HSHM_CROSS_FUN constexpr uint64_t AlignDown(uint64_t n, uint64_t alignment) {
  return n & ~(alignment - 1);
}

/** Wraps to a small number when n is within one alignment of 2^64: callers bound n first. */
HSHM_CROSS_FUN constexpr uint64_t AlignUp(uint64_t n, uint64_t alignment) {
  return (n + alignment - 1) & ~(alignment - 1);
}

HSHM_CROSS_FUN constexpr uint64_t DivideUp(uint64_t n, uint64_t by) {
  return n / by + (n % by != 0);
}

/** Largest k with 2^k <= n; n must not be 0. */
HSHM_CROSS_FUN constexpr uint32_t FloorLog2(uint64_t n) { return 63 - LeadingZeros(n); }

/** Smallest k with 2^k >= n; 0 for n = 0. */
HSHM_CROSS_FUN constexpr uint32_t CeilLog2(uint64_t n) { return n <= 1 ? 0 : FloorLog2(n - 1) + 1; }

}  // namespace hshm::bits

#endif  // HSHM_BASE_BITS_H_
