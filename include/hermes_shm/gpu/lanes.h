#ifndef HSHM_GPU_LANES_H_
#define HSHM_GPU_LANES_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"

/** The lanes of a warp (CUDA) or wavefront (HIP), which run in step. On the host: one lane. */
namespace hshm::gpu {

/**
 * Runs the body once for each lane that has come here, one lane after the other. So a body may wait
 * for what another warp does. Lanes that all waited at a time for one of them would wait for ever
 * where a warp goes on only as a whole.
 */
template <typename Body>
HSHM_CROSS_FUN void EachLaneInTurn(const Body& body) noexcept {
#if defined(__CUDA_ARCH__)
  uint32_t lane = 0;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  const uint32_t here = __activemask();
  for (uint32_t left = here; left != 0; left &= left - 1) {
    if (lane + 1 == static_cast<uint32_t>(__ffs(static_cast<int>(left)))) body();
    __syncwarp(here);
  }
#elif defined(__HIP_DEVICE_COMPILE__)
  const uint32_t lane = __lane_id();
  for (uint64_t left = __ballot(1); left != 0; left &= left - 1) {
    if (lane == static_cast<uint32_t>(__builtin_ctzll(left))) body();
    __builtin_amdgcn_wave_barrier();
  }
#else
  body();
#endif
}

/** Lets a warp that waits for another one step back for about half a microsecond. */
HSHM_GPU_FUN inline void PauseWarp() noexcept {
#if defined(__CUDA_ARCH__)
  __nanosleep(500);
#elif defined(__HIP_DEVICE_COMPILE__)
  __builtin_amdgcn_s_sleep(15);
#endif
}

}  // namespace hshm::gpu

#endif  // HSHM_GPU_LANES_H_
