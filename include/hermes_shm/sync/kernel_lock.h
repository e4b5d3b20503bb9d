#ifndef HSHM_SYNC_KERNEL_LOCK_H_
#define HSHM_SYNC_KERNEL_LOCK_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/gpu/lanes.h"
#include "hermes_shm/platform/cpu.h"
#include "hermes_shm/sync/mutex.h"

namespace hshm {

/**
 * How often a lane tries for a lock. About half a microsecond each, so a lane gives up after some
 * seconds: many times what all lanes of a full GPU need in turn, but no hang for ever.
 */
inline constexpr uint32_t kKernelLockTries = uint32_t{1} << 22;

/**
 * Runs the body once for each lane that calls, inside of the mutex. False, and the body has not
 * run, when the lock could not be had within kKernelLockTries.
 *
 * Invariant  While the word names the kernels' slot, one lane of one kernel is inside.
 * Ordering   The acquiring CAS pairs with the releasing store of the lane before.
 * ABA        None: the word has two values while kernels have the region.
 * Crash      A kernel that breaks off inside leaves the word. The next process that locks finds a
 *            dead holder there and repairs; kernels that come before it run into their bound.
 *
 * Lanes of a warp come in turn, so the holder is always in another warp, which the GPU runs on. A
 * host thread that runs this, as tests do, is a kernel of one lane.
 */
template <typename Body>
HSHM_CROSS_FUN bool LockedInTurn(Mutex& mutex, const Body& body) noexcept {
  bool is_done = false;
  gpu::EachLaneInTurn([&] {
    for (uint32_t tries = 0; tries < kKernelLockTries && !is_done; ++tries) {
      if (mutex.TryLockInKernel()) {
        body();
        mutex.UnlockInKernel();
        is_done = true;
      } else {
#if HSHM_IS_GPU
        gpu::PauseWarp();
#else
        YieldCpu();
#endif
      }
    }
  });
  return is_done;
}

}  // namespace hshm

#endif  // HSHM_SYNC_KERNEL_LOCK_H_
