#ifndef HSHM_SYNC_SPIN_LOCK_H_
#define HSHM_SYNC_SPIN_LOCK_H_

#include <cstdint>

#include "hermes_shm/base/check.h"
#include "hermes_shm/platform/cancellation.h"
#include "hermes_shm/platform/cpu.h"
#include "hermes_shm/sync/atomic.h"
#include "hermes_shm/sync/shared_layout.h"

namespace hshm {

/**
 * A lock between the threads of one process, for a few instructions. For private memory only: its
 * holder's death would lock out everybody, so a struct that contains one does not pass as shared.
 *
 * Invariant  locked_ is 1 while one thread is inside.
 * Ordering   The acquiring exchange pairs with the store in Unlock.
 * ABA        None: the word has two values.
 * Crash      Dies with its process. A child forked while another thread is inside finds it locked:
 *            forked children drop what it protects.
 */
class SpinLock {
 public:
  SpinLock() = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  bool TryLock() noexcept {
    return locked_.exchange(1, std::memory_order_acquire) == 0;  // pairs with Unlock
  }

  void Lock() noexcept {
    for (uint32_t tries = 1; !TryLock(); ++tries) {
      // relaxed: only a hint when to try again; spins on a shared line instead of taking it
      while (locked_.load(std::memory_order_relaxed) != 0) {
        if (tries++ % kTriesPerYield == 0) {
          YieldCpu();
        } else {
          RelaxCpu();
        }
      }
    }
  }

  void Unlock() noexcept {
    HSHM_ASSERT(locked_.load(std::memory_order_relaxed) == 1);  // relaxed: its own word
    locked_.store(0, std::memory_order_release);                // pairs with TryLock
  }

 private:
  // About a microsecond: longer than the lock is ever held by a thread that runs.
  static constexpr uint32_t kTriesPerYield = 64;

  Atomic<uint32_t> locked_;
  [[no_unique_address]] PrivateOnly private_only_;
};
static_assert(!SharedLayout<SpinLock>);

/** Holds a SpinLock for a scope, in which the thread cannot be cancelled. */
class SpinGuard {
 public:
  explicit SpinGuard(SpinLock& lock) noexcept : lock_(lock) { lock_.Lock(); }
  ~SpinGuard() { lock_.Unlock(); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  NoCancellation no_cancellation_;  // first, so that it lasts until after Unlock
  SpinLock& lock_;
};

}  // namespace hshm

#endif  // HSHM_SYNC_SPIN_LOCK_H_
