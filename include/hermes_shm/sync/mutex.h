#ifndef HSHM_SYNC_MUTEX_H_
#define HSHM_SYNC_MUTEX_H_

#include <cstdint>
#include <string>
#include <type_traits>

#include "hermes_shm/base/check.h"
#include "hermes_shm/base/macros.h"
#include "hermes_shm/platform/cancellation.h"
#include "hermes_shm/sync/atomic.h"
#include "hermes_shm/sync/lock_identity.h"

namespace hshm {

enum class LockResult : uint32_t {
  kLocked,     // the caller holds the lock
  kOwnerDied,  // the same, and the last holder died inside: repair what it protects first
  kTimeout,    // a living process holds it still; the caller does not
};

/** Waits for as long as it takes; a dead holder is noticed all the same. */
inline constexpr uint64_t kNoTimeout = ~uint64_t{0};

/**
 * A lock across processes that outlives its holders. Lies in shared memory that is never given back
 * to the system while anybody may lock; zeroed memory is a free lock.
 *
 *     word [any]  {waiters:1, generation:18, slot + 1:13}, 0 = free
 *
 * All threads of a process write the same holder. Blocks in the kernel in slices of 10 ms; after
 * each the holder is asked for, and a dead one's lock is taken over. A stopped holder is waited
 * for, never robbed. kOwnerDied obliges to a repair that can be repeated: a taker that dies in it
 * is a dead holder in turn, and the next taker is told again.
 *
 * Invariant  While the word names {slot, generation}, that incarnation holds the lock or is dead;
 *            only itself, or one taker after its death, changes the holder bits.
 * Ordering   Each acquiring CAS pairs with the exchange in Unlock; for a take-over the dead
 *            holder's stores are ordered by LockPeers::IsDead.
 * ABA        A dead {slot, generation} never locks again, so a CAS that finds it robs nobody.
 * Crash      Before the CAS: nothing happened. Inside: taken over with kOwnerDied. Between Unlock's
 *            exchange and its wake: sleepers wake by their slice. A taker sets the waiters bit, so
 *            a chain of sleepers is never forgotten.
 *
 * Not recursive. Leaving by longjmp or pthread_exit while holding it is a broken rule.
 */
class HSHM_API Mutex {
 public:
  static constexpr uint32_t kNoSlot = ~uint32_t{0};

  /** Blocks for at most timeout_us. Never from a signal handler; `me` must have peers. */
  LockResult Lock(const LockIdentity& me, uint64_t timeout_us = kNoTimeout) noexcept {
    return TakeFree(me) ? LockResult::kLocked : LockSlow(me, timeout_us);
  }

  /** The uncontended step of Lock alone: false when somebody holds it, dead or alive. */
  bool TakeFree(const LockIdentity& me) noexcept {
    HSHM_CHECK(me.peers_ != nullptr);
    uint32_t free = 0;
    return word_.compare_exchange_strong(free, WordOf(me),
                                         std::memory_order_acquire,   // pairs with Unlock
                                         std::memory_order_relaxed);  // relaxed: nothing was taken
  }

  /** Never blocks: kTimeout when a living process holds it, kOwnerDied when it was taken over. */
  LockResult TryLock(const LockIdentity& me) noexcept {
    return TakeFree(me) ? LockResult::kLocked : TryLockSlow(me, kNoSlot);
  }

  /** As TryLock, but a lock whose holder's slot is `slot` is left alone, dead or alive. */
  LockResult TryLockUnlessDeadIn(const LockIdentity& me, uint32_t slot) noexcept {
    return TakeFree(me) ? LockResult::kLocked : TryLockSlow(me, slot);
  }

  /** Stops with defect::NotTheHolder when another process, or nobody, holds it. */
  void Unlock(const LockIdentity& me) noexcept;

  /**
   * For kernels, which are no process and cannot wait here; see LockedInTurn. The word then names a
   * slot that no process has. To a process such a holder is dead: it may lock only once the kernels
   * have ended, and is told kOwnerDied when one of them broke off inside.
   */
  HSHM_CROSS_FUN bool TryLockInKernel() noexcept {
    uint32_t free = 0;
    return word_.compare_exchange_strong(free, kSlotMask,
                                         std::memory_order_acquire,   // pairs with UnlockInKernel
                                         std::memory_order_relaxed);  // relaxed: nothing was taken
  }
  HSHM_CROSS_FUN void UnlockInKernel() noexcept {
    word_.store(0, std::memory_order_release);  // pairs with TryLockInKernel, TakeFree
  }

  /** Slot of the holder, dead or alive, at some moment during the call; kNoSlot when free. */
  uint32_t HolderSlot() const noexcept {
    const uint32_t holder = word_.load(std::memory_order_relaxed) & kSlotMask;  // relaxed: a hint
    return holder == 0 ? kNoSlot : holder - 1;
  }

  /** False for a word that locks for nobody, which no call writes: who waits for it is stopped. */
  bool IsWhole() const noexcept {
    const uint32_t word = word_.load(std::memory_order_relaxed);  // relaxed: of any moment
    return word == 0 || (word & kSlotMask) != 0;
  }

  /** Whether a thread of this very incarnation of the process holds it. */
  bool IsHeldBy(const LockIdentity& me) const noexcept {
    const uint32_t word = word_.load(std::memory_order_relaxed);  // relaxed: changed by it alone
    return me.peers_ != nullptr && (word & ~kWaiters) == WordOf(me);
  }

  /** "slot 3, pid 4711 (stopped)", or "nobody". For messages. */
  std::string DescribeHolder(const LockIdentity& me) const;

 private:
  static constexpr uint32_t kSlotMask = (uint32_t{1} << LockIdentity::kSlotBits) - 1;
  static constexpr uint32_t kGenerationMask = (uint32_t{1} << LockIdentity::kGenerationBits) - 1;
  static constexpr uint32_t kWaiters = uint32_t{1} << 31;
  static_assert(LockIdentity::kSlotBits + LockIdentity::kGenerationBits == 31);

  static uint32_t WordOf(const LockIdentity& me) noexcept {
    HSHM_ASSERT(me.slot_ < kSlotMask);
    return ((me.generation_ & kGenerationMask) << LockIdentity::kSlotBits) | (me.slot_ + 1);
  }

  LockResult LockSlow(const LockIdentity& me, uint64_t timeout_us) noexcept;
  LockResult TryLockSlow(const LockIdentity& me, uint32_t excepted_slot) noexcept;
  bool TakeAs(uint32_t found, const LockIdentity& me) noexcept;
  static bool IsHeldByDead(uint32_t word, const LockIdentity& me) noexcept;

  Atomic<uint32_t> word_;
};
static_assert(std::is_standard_layout_v<Mutex>);
static_assert(sizeof(Mutex) == 4);

/**
 * Holds a Mutex for a scope, unless result() is kTimeout. The thread cannot be cancelled meanwhile:
 * a thread that is gone while its process lives would keep the lock for ever.
 */
class HSHM_API MutexGuard {
 public:
  MutexGuard(Mutex& mutex, const LockIdentity& me, uint64_t timeout_us = kNoTimeout) noexcept
      : mutex_(&mutex), me_(me), result_(mutex.Lock(me, timeout_us)) {}
  ~MutexGuard() {
    if (IsHeld()) mutex_->Unlock(me_);
  }
  MutexGuard(const MutexGuard&) = delete;
  MutexGuard& operator=(const MutexGuard&) = delete;

  LockResult result() const noexcept { return result_; }
  bool IsHeld() const noexcept { return result_ != LockResult::kTimeout; }

 private:
  NoCancellation no_cancellation_;  // first, so that it lasts until after Unlock
  Mutex* mutex_;
  LockIdentity me_;
  LockResult result_;
};

}  // namespace hshm

#endif  // HSHM_SYNC_MUTEX_H_
