#include "hermes_shm/sync/mutex.h"

#include <algorithm>

#include "hermes_shm/base/defects.h"
#include "hermes_shm/platform/futex.h"

namespace hshm {
namespace {

/** How long a death can go unnoticed. Shorter slices cost sleepers more wake-ups. */
constexpr uint64_t kSliceUs = 10 * 1000;

uint64_t DeadlineAfter(uint64_t now_us, uint64_t timeout_us) noexcept {
  return timeout_us > kNoTimeout - now_us ? kNoTimeout : now_us + timeout_us;
}

}  // namespace

/** Replaces the word `found` by this holder. The waiters bit is set: somebody may sleep. */
bool Mutex::TakeAs(uint32_t found, const LockIdentity& me) noexcept {
  return word_.compare_exchange_strong(found, WordOf(me) | kWaiters,
                                       std::memory_order_acquire,   // pairs with Unlock, or IsDead
                                       std::memory_order_relaxed);  // relaxed: nothing was taken
}

LockResult Mutex::LockSlow(const LockIdentity& me, uint64_t timeout_us) noexcept {
  const uint64_t deadline_us = DeadlineAfter(MonotonicUs(), timeout_us);
  uint32_t watched = 0;       // the word whose slice runs
  uint64_t slice_end_us = 0;  // signals and false wakes do not prolong a slice
  for (;;) {
    uint32_t word = word_.load(std::memory_order_relaxed);  // relaxed: every CAS re-reads it
    if (word == 0) {
      if (TakeAs(0, me)) return LockResult::kLocked;
      continue;
    }
    if ((word & kWaiters) == 0) {
      if (!word_.compare_exchange_strong(word, word | kWaiters,
                                         std::memory_order_relaxed)) {  // relaxed: only a request
        continue;
      }
      word |= kWaiters;
    }
    const uint64_t now_us = MonotonicUs();
    if (word != watched) {
      watched = word;
      slice_end_us = std::min(now_us + kSliceUs, deadline_us);
    }
    if (now_us < slice_end_us) {
      FutexWait(&word_, word, slice_end_us - now_us);
      continue;
    }
    if (IsHeldByDead(word, me)) {
      if (TakeAs(word, me)) return LockResult::kOwnerDied;
      continue;
    }
    if (now_us >= deadline_us) return LockResult::kTimeout;
    watched = 0;
  }
}

LockResult Mutex::TryLockSlow(const LockIdentity& me, uint32_t excepted_slot) noexcept {
  for (;;) {
    const uint32_t word = word_.load(std::memory_order_relaxed);  // relaxed: every CAS re-reads it
    if (word == 0) {
      if (TakeAs(0, me)) return LockResult::kLocked;
      continue;
    }
    if (excepted_slot != kNoSlot && (word & kSlotMask) == excepted_slot + 1)
      return LockResult::kTimeout;
    if (!IsHeldByDead(word, me)) return LockResult::kTimeout;
    if (TakeAs(word, me)) return LockResult::kOwnerDied;
  }
}

bool Mutex::IsHeldByDead(uint32_t word, const LockIdentity& me) noexcept {
  if ((word & kSlotMask) == 0) defect::Corruption("the holder in the word of a Mutex", word);
  const uint32_t generation = (word >> LockIdentity::kSlotBits) & kGenerationMask;
  return me.peers_->IsDead((word & kSlotMask) - 1, generation);
}

void Mutex::Unlock(const LockIdentity& me) noexcept {
  // Looked at before anything changes, so that a wrong call robs nobody. relaxed: no one but the
  // holder changes what is compared.
  const uint32_t seen = word_.load(std::memory_order_relaxed);
  if (HSHM_UNLIKELY(me.peers_ == nullptr || (seen & ~kWaiters) != WordOf(me))) {
    defect::NotTheHolder("Mutex::Unlock", seen);
  }
  const uint32_t word =
      word_.exchange(0, std::memory_order_release);  // pairs with TakeFree, TakeAs
  if (HSHM_UNLIKELY((word & kWaiters) != 0)) FutexWake(&word_, 1);
}

std::string Mutex::DescribeHolder(const LockIdentity& me) const {
  const uint32_t slot = HolderSlot();
  return slot == kNoSlot || me.peers_ == nullptr ? "nobody" : me.peers_->Describe(slot);
}

}  // namespace hshm
