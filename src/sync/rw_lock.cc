#include "hermes_shm/sync/rw_lock.h"

#include <algorithm>

#include "hermes_shm/base/defects.h"
#include "hermes_shm/platform/futex.h"

namespace hshm {
namespace {

/** How long the death of a reader can go unnoticed. */
constexpr uint64_t kSliceUs = 10 * 1000;

constexpr uint32_t kSlotMask = (uint32_t{1} << LockIdentity::kSlotBits) - 1;
constexpr uint32_t kGenerationMask = (uint32_t{1} << LockIdentity::kGenerationBits) - 1;
constexpr uint32_t kAwaited = uint32_t{1} << 31;

uint32_t WordOf(const LockIdentity& me) noexcept {
  return ((me.generation_ & kGenerationMask) << LockIdentity::kSlotBits) | (me.slot_ + 1);
}

bool IsOfDead(const LockIdentity& me, uint32_t word) noexcept {
  const uint32_t generation = (word >> LockIdentity::kSlotBits) & kGenerationMask;
  return me.peers_->IsDead((word & kSlotMask) - 1, generation);
}

uint64_t DeadlineAfter(uint64_t timeout_us) noexcept {
  const uint64_t now_us = MonotonicUs();
  return timeout_us > kNoTimeout - now_us ? kNoTimeout : now_us + timeout_us;
}

uint64_t TimeUntil(uint64_t deadline_us) noexcept {
  if (deadline_us == kNoTimeout) return kNoTimeout;
  const uint64_t now_us = MonotonicUs();
  return deadline_us > now_us ? deadline_us - now_us : 0;
}

}  // namespace

/** Neighbouring slots begin on different cache lines. kNone when every mark is taken. */
uint32_t RwLockCore::TakeMark(const LockIdentity& me, Mark* marks, uint32_t count) noexcept {
  HSHM_CHECK(me.peers_ != nullptr);
  constexpr uint32_t kMarksPerLine = 64 / sizeof(Mark);
  uint32_t index = me.slot_ * (kMarksPerLine + 1) % count;
  for (uint32_t tried = 0; tried < count; ++tried) {
    uint32_t free = 0;
    // relaxed: only where to try. The CAS is sequentially consistent: pairs with WriteLock.
    if (marks[index].load(std::memory_order_relaxed) == 0 &&
        marks[index].compare_exchange_strong(free, WordOf(me))) {
      return index;
    }
    index = index + 1 == count ? 0 : index + 1;
  }
  return ReadTicket::kNone;
}

void RwLockCore::DropMark(const LockIdentity& me, Mark& mark) noexcept {
  // Looked at before anything changes. relaxed: no one but its reader changes what is compared.
  const uint32_t seen = mark.load(std::memory_order_relaxed);
  if (HSHM_UNLIKELY(me.peers_ == nullptr || (seen & ~kAwaited) != WordOf(me))) {
    defect::NotTheHolder("RwLock::ReadUnlock", seen);
  }
  const uint32_t word = mark.exchange(0, std::memory_order_release);  // pairs with AwaitMark
  if (HSHM_UNLIKELY((word & kAwaited) != 0)) FutexWake(&mark, ~uint32_t{0} >> 1);
}

/** Returns once the mark was seen free, or cleared for a dead reader; false when time is over. */
bool RwLockCore::AwaitMark(const LockIdentity& me, Mark& mark, uint64_t deadline_us) noexcept {
  uint32_t watched = 0;
  uint64_t slice_end_us = 0;  // signals and false wakes do not prolong a slice
  for (;;) {
    uint32_t word = mark.load();  // sequentially consistent: pairs with TakeMark, and DropMark
    if (word == 0) return true;
    if ((word & kAwaited) == 0) {
      // relaxed: only a request
      if (!mark.compare_exchange_strong(word, word | kAwaited, std::memory_order_relaxed)) continue;
      word |= kAwaited;
    }
    const uint64_t now_us = MonotonicUs();
    if (word != watched) {
      watched = word;
      slice_end_us = std::min(now_us + kSliceUs, deadline_us);
    }
    if (now_us < slice_end_us) {
      FutexWait(&mark, word, slice_end_us - now_us);
      continue;
    }
    if (IsOfDead(me, word)) {
      // acquire: pairs with IsDead, which ordered all that the dead reader did. Others may sleep.
      if (mark.compare_exchange_strong(word, 0, std::memory_order_acq_rel)) {
        FutexWake(&mark, ~uint32_t{0} >> 1);
      }
      continue;
    }
    if (now_us >= deadline_us) return false;
    watched = 0;
  }
}

/** state_ keeps new readers out: each mark has to be seen free once. */
bool RwLockCore::AwaitReaders(const LockIdentity& me, Mark* marks, uint32_t count,
                              uint64_t deadline_us) noexcept {
  for (uint32_t index = 0; index < count; ++index) {
    if (!AwaitMark(me, marks[index], deadline_us)) return false;
  }
  return true;
}

ReadTicket RwLockCore::ReadLockSlow(const LockIdentity& me, uint64_t timeout_us, Mark* marks,
                                    uint32_t count) noexcept {
  const uint64_t deadline_us = DeadlineAfter(timeout_us);
  for (uint32_t victim = me.slot_ % count;; victim = (victim + 1) % count) {
    if (writer_.Lock(me, TimeUntil(deadline_us)) == LockResult::kTimeout) return {};
    // relaxed: changes under writer_ only
    const uint32_t state = state_.load(std::memory_order_relaxed);
    if (state == kInside) {  // a writer died inside: this reader repairs, alone
      if (AwaitReaders(me, marks, count, deadline_us)) {
        return {LockResult::kOwnerDied, ReadTicket::kExclusive};
      }
      writer_.Unlock(me);
      return {};
    }
    if (state == kWanted) state_.store(kOpen);  // it died before it began
    const uint32_t mark = TakeMark(me, marks, count);
    writer_.Unlock(me);
    if (mark != ReadTicket::kNone) return {LockResult::kLocked, mark};
    // All are taken: sleep on one, and clear it when its reader is dead.
    const uint64_t slice_end_us = MonotonicUs() + kSliceUs;
    AwaitMark(me, marks[victim], std::min(deadline_us, slice_end_us));
    if (TimeUntil(deadline_us) == 0) return {};
  }
}

void RwLockCore::ReadUnlock(const LockIdentity& me, const ReadTicket& ticket, Mark* marks,
                            uint32_t count) noexcept {
  if (ticket.mark_ == ReadTicket::kExclusive) {
    WriteUnlock(me);
    return;
  }
  if (ticket.mark_ >= count) defect::NotTheHolder("RwLock::ReadUnlock", ticket.mark_);
  DropMark(me, marks[ticket.mark_]);
}

LockResult RwLockCore::WriteLock(const LockIdentity& me, uint64_t timeout_us, Mark* marks,
                                 uint32_t count) noexcept {
  const uint64_t deadline_us = DeadlineAfter(timeout_us);
  if (writer_.Lock(me, timeout_us) == LockResult::kTimeout) return LockResult::kTimeout;
  // relaxed: changes under writer_ only. writer_'s own word of a death does not count: its holder
  // may have died before it began, or after it had ended.
  const bool died = state_.load(std::memory_order_relaxed) == kInside;
  if (!died) state_.store(kWanted);  // sequentially consistent: pairs with ReadLock
  if (!AwaitReaders(me, marks, count, deadline_us)) {
    if (!died) state_.store(kOpen);
    writer_.Unlock(me);
    return LockResult::kTimeout;
  }
  state_.store(kInside);
  return died ? LockResult::kOwnerDied : LockResult::kLocked;
}

void RwLockCore::WriteUnlock(const LockIdentity& me) noexcept {
  // Looked at before anything changes: also a thread of this process that waits has writer_, and
  // state_ tells of a writer that died, which a wrong call must not hide. relaxed: its own word.
  if (!writer_.IsHeldBy(me) || state_.load(std::memory_order_relaxed) != kInside) {
    defect::NotTheHolder("RwLock::WriteUnlock", writer_.HolderSlot());
  }
  state_.store(kOpen, std::memory_order_release);  // pairs with ReadLock
  writer_.Unlock(me);
}

std::string RwLockCore::DescribeHolders(const LockIdentity& me, const Mark* marks,
                                        uint32_t count) const {
  std::string text = "writer: " + writer_.DescribeHolder(me) + "; readers: ";
  bool is_first = true;
  for (uint32_t index = 0; index < count; ++index) {
    const uint32_t word = marks[index].load(std::memory_order_relaxed);  // relaxed: a message
    if ((word & kSlotMask) == 0 || me.peers_ == nullptr) continue;
    text += (is_first ? "" : ", ") + me.peers_->Describe((word & kSlotMask) - 1);
    is_first = false;
  }
  return is_first ? text + "nobody" : text;
}

}  // namespace hshm
