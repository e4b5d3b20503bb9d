#ifndef HSHM_SYNC_PATIENCE_H_
#define HSHM_SYNC_PATIENCE_H_

#include <cstdint>

#include "hermes_shm/sync/atomic.h"
#include "hermes_shm/sync/mutex.h"

namespace hshm {

/**
 * How long the threads of a process wait for mutexes whose holders are alive and may be stopped. A
 * call that asks several times for a lock, or call after call, would wait the full time each time.
 * So after a wait in vain the next ones for the same lock are short, until it is had again.
 *
 * Invariant  stuck_ names the last lock that was waited for in vain and has not been had since.
 * Ordering   Relaxed: a wrong answer only makes one wait longer or shorter.
 * ABA        None: the lock is compared, never followed.
 * Crash      It is private memory.
 */
class Patience {
 public:
  /** The first wait for a lock whose holder is alive but does not let go: 30 s. */
  static constexpr uint64_t kTimeoutUs = 30'000'000;
  /** Waits again for a lock that was not to be had: long for who holds it and goes on. */
  static constexpr uint64_t kAgainUs = 1'000'000;

  /** For Mutex::Lock. */
  uint64_t TimeoutUs(const Mutex& lock) const noexcept {
    // relaxed: a hint
    const bool is_stuck = stuck_.load(std::memory_order_relaxed) == &lock;
    return is_stuck ? kAgainUs : kTimeoutUs;
  }

  /** What became of it. */
  void Note(const Mutex& lock, LockResult result) noexcept {
    // relaxed, all: hints
    if (result == LockResult::kTimeout) {
      stuck_.store(&lock, std::memory_order_relaxed);
    } else if (HSHM_UNLIKELY(stuck_.load(std::memory_order_relaxed) == &lock)) {  // relaxed
      stuck_.store(nullptr, std::memory_order_relaxed);                           // relaxed
    }
  }

 private:
  Atomic<const Mutex*> stuck_{nullptr};
};

}  // namespace hshm

#endif  // HSHM_SYNC_PATIENCE_H_
