#ifndef HSHM_SYNC_RW_LOCK_H_
#define HSHM_SYNC_RW_LOCK_H_

#include <cstdint>
#include <string>
#include <type_traits>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/platform/cancellation.h"
#include "hermes_shm/sync/atomic.h"
#include "hermes_shm/sync/lock_identity.h"
#include "hermes_shm/sync/mutex.h"

namespace hshm {

/** What a reader got, and has to bring back. */
struct ReadTicket {
  static constexpr uint32_t kNone = ~uint32_t{0};
  static constexpr uint32_t kExclusive = kNone - 1;  // it may repair: nobody else is inside

  LockResult result_ = LockResult::kTimeout;
  uint32_t mark_ = kNone;
  bool IsHeld() const noexcept { return result_ != LockResult::kTimeout; }
};

/** The work of BasicRwLock, whatever the number of its marks. */
class HSHM_API RwLockCore {
 public:
  using Mark = Atomic<uint32_t>;

  ReadTicket ReadLock(const LockIdentity& me, uint64_t timeout_us, Mark* marks,
                      uint32_t count) noexcept {
    if (HSHM_LIKELY(state_.load() == kOpen)) {
      const uint32_t mark = TakeMark(me, marks, count);
      if (HSHM_LIKELY(mark != ReadTicket::kNone)) {
        if (HSHM_LIKELY(state_.load() == kOpen)) return {LockResult::kLocked, mark};
        DropMark(me, marks[mark]);
      }
    }
    return ReadLockSlow(me, timeout_us, marks, count);
  }
  void ReadUnlock(const LockIdentity& me, const ReadTicket& ticket, Mark* marks,
                  uint32_t count) noexcept;
  LockResult WriteLock(const LockIdentity& me, uint64_t timeout_us, Mark* marks,
                       uint32_t count) noexcept;
  void WriteUnlock(const LockIdentity& me) noexcept;
  std::string DescribeHolders(const LockIdentity& me, const Mark* marks, uint32_t count) const;

 private:
  enum State : uint32_t {
    kOpen,    // readers may enter
    kWanted,  // the holder of writer_ waits for the readers inside; no new ones
    kInside,  // a writer has begun; still so when it died
  };

  ReadTicket ReadLockSlow(const LockIdentity& me, uint64_t timeout_us, Mark* marks,
                          uint32_t count) noexcept;
  static uint32_t TakeMark(const LockIdentity& me, Mark* marks, uint32_t count) noexcept;
  static void DropMark(const LockIdentity& me, Mark& mark) noexcept;
  static bool AwaitMark(const LockIdentity& me, Mark& mark, uint64_t deadline_us) noexcept;
  static bool AwaitReaders(const LockIdentity& me, Mark* marks, uint32_t count,
                           uint64_t deadline_us) noexcept;

  Mutex writer_;            // [any] who writes, or opens the way for a reader
  Atomic<uint32_t> state_;  // [lock:writer_]
};

/**
 * Many readers or one writer, across processes, and it outlives them all. Lies in shared memory
 * that is never given back while anybody may lock; zeroed memory is a free lock.
 *
 *     mark [any]  {awaited:1, generation:18, slot + 1:13}, 0 = free; one a reading thread
 *
 * At most kMarks readers are inside at once; more wait. A writer that waits lets no new reader in.
 * Not recursive: a thread that reads and locks again may wait for a writer that waits for it.
 *
 * A reader that dies leaves a mark that names it; who waits for the mark asks whether the reader
 * lives and clears it. A writer that dies inside is told of by kOwnerDied: to the next writer, or
 * to the next reader, which then has the lock to itself until it unlocks, and repairs first. A
 * repairer that dies leaves the obligation to the next. Stopped holders are waited for, never
 * robbed.
 *
 * Invariant  While state_ is kInside its setter is alone, or is dead. A mark is changed by its
 *            reader, and by others only once it is dead.
 * Ordering   A reader sets its mark, then looks at state_; a writer sets state_, then looks at the
 *            marks: both sequentially consistent, so one of the two sees the other. Releases of
 *            marks and state_ pair with the loads that find them free.
 * ABA        A dead {slot, generation} never marks again, so a CAS that finds it robs nobody.
 * Crash      Reader with a mark: cleared by who waits for it. Writer in kWanted: had changed
 *            nothing, the next holder of writer_ opens again. In kInside: kOwnerDied. Between
 *            kOpen and the unlock of writer_: nothing is lost, its death is noticed there.
 */
template <uint32_t kMarks>
class alignas(64) BasicRwLock {
 public:
  /** Blocks for at most timeout_us; 0 tries. `me` must have peers. */
  [[nodiscard]] ReadTicket ReadLock(const LockIdentity& me,
                                    uint64_t timeout_us = kNoTimeout) noexcept {
    return core_.ReadLock(me, timeout_us, marks_, kMarks);
  }
  /** Stops with defect::NotTheHolder when the ticket is not one of this process. */
  void ReadUnlock(const LockIdentity& me, const ReadTicket& ticket) noexcept {
    core_.ReadUnlock(me, ticket, marks_, kMarks);
  }

  /** Blocks for at most timeout_us; 0 tries. After kOwnerDied repair first. */
  [[nodiscard]] LockResult WriteLock(const LockIdentity& me,
                                     uint64_t timeout_us = kNoTimeout) noexcept {
    return core_.WriteLock(me, timeout_us, marks_, kMarks);
  }
  /** Stops with defect::NotTheHolder when another process, or nobody, writes. */
  void WriteUnlock(const LockIdentity& me) noexcept { core_.WriteUnlock(me); }

  /** "writer: slot 3, pid 4711 (stopped); readers: slot 1, pid 12". For messages. */
  std::string DescribeHolders(const LockIdentity& me) const {
    return core_.DescribeHolders(me, marks_, kMarks);
  }

 private:
  RwLockCore core_;
  Atomic<uint32_t> marks_[kMarks];
};

/** For 62 readers at once; 256 bytes. */
using RwLock = BasicRwLock<62>;
static_assert(std::is_standard_layout_v<RwLock>);
static_assert(sizeof(RwLock) == 256);

/** Reads for a scope, unless IsHeld() is false. The thread cannot be cancelled meanwhile. */
template <uint32_t kMarks>
class ReadGuard {
 public:
  ReadGuard(BasicRwLock<kMarks>& lock, const LockIdentity& me,
            uint64_t timeout_us = kNoTimeout) noexcept
      : lock_(&lock), me_(me), ticket_(lock.ReadLock(me, timeout_us)) {}
  ~ReadGuard() {
    if (IsHeld()) lock_->ReadUnlock(me_, ticket_);
  }
  ReadGuard(const ReadGuard&) = delete;
  ReadGuard& operator=(const ReadGuard&) = delete;

  /** kOwnerDied: a writer died inside, and nobody else is in now: repair first. */
  LockResult result() const noexcept { return ticket_.result_; }
  bool IsHeld() const noexcept { return ticket_.IsHeld(); }

 private:
  NoCancellation no_cancellation_;  // first, so that it lasts until after ReadUnlock
  BasicRwLock<kMarks>* lock_;
  LockIdentity me_;
  ReadTicket ticket_;
};

/** Writes for a scope, unless IsHeld() is false. The thread cannot be cancelled meanwhile. */
template <uint32_t kMarks>
class WriteGuard {
 public:
  WriteGuard(BasicRwLock<kMarks>& lock, const LockIdentity& me,
             uint64_t timeout_us = kNoTimeout) noexcept
      : lock_(&lock), me_(me), result_(lock.WriteLock(me, timeout_us)) {}
  ~WriteGuard() {
    if (IsHeld()) lock_->WriteUnlock(me_);
  }
  WriteGuard(const WriteGuard&) = delete;
  WriteGuard& operator=(const WriteGuard&) = delete;

  LockResult result() const noexcept { return result_; }
  bool IsHeld() const noexcept { return result_ != LockResult::kTimeout; }

 private:
  NoCancellation no_cancellation_;  // first, so that it lasts until after WriteUnlock
  BasicRwLock<kMarks>* lock_;
  LockIdentity me_;
  LockResult result_;
};

}  // namespace hshm

#endif  // HSHM_SYNC_RW_LOCK_H_
