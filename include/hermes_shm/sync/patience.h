#ifndef HSHM_SYNC_PATIENCE_H_
#define HSHM_SYNC_PATIENCE_H_

#include <cstdint>

#include "hermes_shm/sync/atomic.h"
#include "hermes_shm/sync/mutex.h"

namespace hshm {

/**
 * How long the threads of a process wait for mutexes whose holders are alive and may be stopped. A
 * call that asks several times for a lock, or call after call, would wait the full time each time.
 * So after a wait in vain the next ones for the same lock are short, until it is had again. A
 * process that stops may have two of an allocator's locks, and two that do three.
 *
 * Invariant  stuck_ names locks that were waited for in vain and have not been had since; of more
 *            than it has words for, a word names one and then another in turn.
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
  /** So many locks at a time are known not to be had. */
  static constexpr uint32_t kLocks = 3;

  /** For Mutex::Lock. */
  uint64_t TimeoutUs(const Mutex& lock) const noexcept {
    return IsStuck(lock) ? kAgainUs : kTimeoutUs;
  }

  /** What became of it. */
  void Note(const Mutex& lock, LockResult result) noexcept {
    if (result == LockResult::kTimeout) {
      if (!IsStuck(lock)) Remember(lock);
      return;
    }
    // relaxed, both: hints
    for (Atomic<const Mutex*>& word : stuck_) {
      if (HSHM_UNLIKELY(word.load(std::memory_order_relaxed) == &lock)) {  // relaxed
        word.store(nullptr, std::memory_order_relaxed);                    // relaxed
      }
    }
  }

 private:
  bool IsStuck(const Mutex& lock) const noexcept {
    for (const Atomic<const Mutex*>& word : stuck_) {
      if (word.load(std::memory_order_relaxed) == &lock) return true;  // relaxed: a hint
    }
    return false;
  }
  /** Two threads may take two words for one lock: who has it again clears both. */
  void Remember(const Mutex& lock) noexcept {
    // relaxed, all: hints
    for (Atomic<const Mutex*>& word : stuck_) {
      if (word.load(std::memory_order_relaxed) != nullptr) continue;  // relaxed
      return word.store(&lock, std::memory_order_relaxed);            // relaxed
    }
    const uint32_t turn = turn_.fetch_add(1, std::memory_order_relaxed);  // relaxed
    stuck_[turn % kLocks].store(&lock, std::memory_order_relaxed);        // relaxed
  }

  Atomic<const Mutex*> stuck_[kLocks]{};
  Atomic<uint32_t> turn_{0};  // when there is no free word
};

}  // namespace hshm

#endif  // HSHM_SYNC_PATIENCE_H_
