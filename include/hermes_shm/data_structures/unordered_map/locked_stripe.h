#ifndef HSHM_DATA_STRUCTURES_UNORDERED_MAP_LOCKED_STRIPE_H_
#define HSHM_DATA_STRUCTURES_UNORDERED_MAP_LOCKED_STRIPE_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hermes_shm/base/check.h"
#include "hermes_shm/data_structures/unordered_map/layout.h"
#include "hermes_shm/platform/cpu.h"

namespace hshm::ipc::map_layout {

/**
 * One stripe of an unordered_map for as long as this object lives: its lock, its table of slots,
 * growth and repair. Knows tags and offsets of nodes, not keys and values. Private memory.
 *
 * Invariant  A node is named by exactly one slot of the active table. Between a node's home and its
 *            slot no slot is empty. tables_[1 - active_] is 0 unless a growth is under way.
 * Ordering   Everything is read and written under the lock. The stores of one operation are
 *            releases, so that a death cuts them in program order; count_ and used_ come last.
 * ABA        None: slots change under the lock only.
 * Crash      The next holder is told (kOwnerDied) and repairs: a table that is not active goes, and
 *            the counters are counted again. Insert and erase are one store into a slot, growth is
 *            one store of active_, so there is nothing else to mend. The repair can be cut and
 *            repeated at any point. At most one block is lost: a node not yet linked, or a node or
 *            table that was unlinked and not yet freed.
 */
template <typename AllocT>
class LockedStripe {
 public:
  static constexpr uint64_t kNoSlot = ~uint64_t{0};

  struct Place {
    uint64_t index_;  // of the slot; kNoSlot when there is no table
    bool found_;      // the entry is there; else it may be put there
  };

  /** first_log2 is the size of the table that the stripe gets when it has none. */
  LockedStripe(AllocT& alloc, const MemContext& ctx, Stripe& stripe, uint32_t first_log2) noexcept
      : alloc_(alloc),
        ctx_(ctx),
        stripe_(stripe),
        first_log2_(first_log2),
        me_(alloc.GetMembership().IdentityOrRejoin()) {
    SpinWhileHeld();
    if (HSHM_UNLIKELY(stripe_.lock_.Lock(me_) == LockResult::kOwnerDied)) {
      Repair();
    } else {
      UseActive();
    }
  }
  ~LockedStripe() { stripe_.lock_.Unlock(me_); }
  LockedStripe(const LockedStripe&) = delete;
  LockedStripe& operator=(const LockedStripe&) = delete;

  uint64_t slot_count() const noexcept { return slot_count_; }
  uint64_t count() const noexcept { return Get(stripe_.count_); }
  uint64_t Read(uint64_t index) const noexcept { return Get(slots_[index]); }

  /** Where the node of this tag lies for which is_it(offset), or where a new one may go. */
  template <typename IsIt>
  HSHM_INLINE Place Find(uint64_t tag, const IsIt& is_it) const noexcept {
    if (HSHM_UNLIKELY(slot_count_ == 0)) return {kNoSlot, false};
    uint64_t erased = kNoSlot;
    for (uint64_t i = tag & Last();; i = (i + 1) & Last()) {
      const uint64_t slot = Get(slots_[i]);
      if (HSHM_UNLIKELY(!HasNode(slot))) {
        if (slot == kEmpty) return {erased == kNoSlot ? i : erased, false};
        if (erased == kNoSlot) erased = i;
      } else if (TagIn(slot) == tag && is_it(NodeIn(slot))) {
        return {i, true};
      }
    }
  }

  /**
   * Makes sure that one more entry fits, growing the table when that is due. @return where the
   * entry may go, given what Find said; kNoSlot when there is no room
   */
  HSHM_INLINE uint64_t PlaceFor(uint64_t tag, uint64_t index) noexcept {
    if (HSHM_LIKELY(index != kNoSlot) && Get(slots_[index]) == kErased) return index;
    const uint64_t used = Get(stripe_.used_);
    if (HSHM_LIKELY(used < MaxUsed(slot_count_))) return index;
    if (Resize(GrownLog2())) return FirstEmpty(tag);
    return used < MaxUsedWithoutRoom(slot_count_) ? index : kNoSlot;
  }

  /** The commit of an insertion: the node is complete. */
  void Link(uint64_t index, uint64_t tag, Offset node) noexcept {
    const bool was_empty = Get(slots_[index]) == kEmpty;
    Put(slots_[index], SlotFor(tag, node));
    if (was_empty) Put(stripe_.used_, Get(stripe_.used_) + 1);
    Put(stripe_.count_, Get(stripe_.count_) + 1);
  }

  /** The commit of a replacement: another complete node for the same key. */
  void Relink(uint64_t index, Offset node) noexcept {
    Put(slots_[index], SlotFor(TagIn(Get(slots_[index])), node));
  }

  /** The commit of an erasure; the caller frees the node afterwards. */
  void Unlink(uint64_t index) noexcept {
    HSHM_ASSERT(HasNode(Read(index)));
    const bool ends_search = Get(slots_[(index + 1) & Last()]) == kEmpty;
    Put(slots_[index], ends_search ? kEmpty : kErased);
    Put(stripe_.count_, Get(stripe_.count_) - 1);
    if (ends_search) ClearErasedUpTo(index);
  }

  /** Grows the table, if it must, for so many entries. False when there is no room. */
  bool Reserve(uint32_t log2) noexcept {
    return TableSlots(table_) >= (uint64_t{1} << log2) || Resize(log2);
  }

  /** After many erasures: a table that fits what is left, or none. A failure to get one is fine. */
  void Shrink() noexcept {
    if (slot_count_ == 0) return;
    if (count() == 0) {
      Publish(0);
      return;
    }
    const uint32_t fitting = TableLog2For(count() + count() / 2, 1);
    const uint64_t erased = Get(stripe_.used_) - count();
    if (fitting < TableLog2(table_) || erased > slot_count_ / 4) {
      Resize(std::min(fitting, TableLog2(table_)));
    }
  }

  /** Whether the counters and tables agree with the slots. */
  bool Check() const noexcept {
    uint64_t count = 0;
    uint64_t used = 0;
    CountSlots(&count, &used);
    return count == Get(stripe_.count_) && used == Get(stripe_.used_) &&
           Get(stripe_.tables_[1 - Get(stripe_.active_)]) == 0 &&
           (slot_count_ == 0 || used < slot_count_);
  }

 private:
  /** relaxed: the lock orders it; without the lock it is a hint. */
  template <typename W>
  static W Get(const Atomic<W>& word) noexcept {
    return word.load(std::memory_order_relaxed);  // relaxed: as above
  }
  /** Pairs with the take-over of the lock after a death: the stores are cut in program order. */
  template <typename W>
  static void Put(Atomic<W>& word, std::type_identity_t<W> value) noexcept {
    word.store(value, std::memory_order_release);  // pairs with the take-over in Lock
  }

  uint64_t Last() const noexcept { return slot_count_ - 1; }

  /** Entries are held for less than a microsecond, so a sleep would cost more than a few looks. */
  void SpinWhileHeld() const noexcept {
    constexpr int kLooks = 50;
    for (int i = 0; i < kLooks && stripe_.lock_.HolderSlot() != Mutex::kNoSlot; ++i) {
      RelaxCpu();
    }
  }

  void UseActive() noexcept {
    table_ = Get(stripe_.tables_[Get(stripe_.active_)]);
    slot_count_ = TableSlots(table_);
    slots_ = reinterpret_cast<Slot*>(alloc_.GetRegion().base_ + TableOffset(table_));
  }

  uint64_t FirstEmpty(uint64_t tag) const noexcept {
    uint64_t i = tag & Last();
    while (Get(slots_[i]) != kEmpty) i = (i + 1) & Last();
    return i;
  }

  /** Slots in front of an empty one need no mark: no search goes on behind them. */
  void ClearErasedUpTo(uint64_t index) noexcept {
    uint64_t cleared = 1;
    for (uint64_t i = (index - 1) & Last(); Get(slots_[i]) == kErased; i = (i - 1) & Last()) {
      Put(slots_[i], kEmpty);
      ++cleared;
    }
    Put(stripe_.used_, Get(stripe_.used_) - cleared);
  }

  /** Twice as large, unless erased slots fill it rather than entries. */
  uint32_t GrownLog2() const noexcept {
    if (table_ == 0) return first_log2_;
    return TableLog2(table_) + (count() >= slot_count_ / 2 ? 1 : 0);
  }

  /**
   * Moves all entries to a new table. The new table is noted in the stripe as soon as it is there,
   * and the old one stays noted until the new one is active, so that a survivor finds both.
   */
  bool Resize(uint32_t log2) noexcept {
    if (log2 > kMaxTableLog2) return false;
    const uint64_t slot_count = uint64_t{1} << log2;
    const OffsetPtr<> made =
        alloc_.AlignedAllocateOffset(ctx_, slot_count * sizeof(Slot), kCacheLineBytes);
    if (made.IsNull()) return false;
    const TableWord table = TableFor(made.load(), log2);
    Put(stripe_.tables_[1 - Get(stripe_.active_)], table);
    Slot* slots = reinterpret_cast<Slot*>(alloc_.GetRegion().base_ + made.load());
    std::memset(static_cast<void*>(slots), 0, slot_count * sizeof(Slot));
    for (uint64_t i = 0; i < slot_count_; ++i) {
      const uint64_t slot = Get(slots_[i]);
      if (!HasNode(slot)) continue;
      uint64_t at = TagIn(slot) & (slot_count - 1);
      while (Get(slots[at]) != kEmpty) at = (at + 1) & (slot_count - 1);
      slots[at].store(slot, std::memory_order_relaxed);  // relaxed: published by active_
    }
    Publish(table);
    return true;
  }

  /** The commit of a growth, and what follows from it. */
  void Publish(TableWord table) noexcept {
    const uint32_t next = 1 - Get(stripe_.active_);
    Put(stripe_.tables_[next], table);
    Put(stripe_.active_, next);
    Put(stripe_.used_, count());
    UseActive();
    DropInactive();
  }

  /** Takes the note away before it frees: cut between, the table is lost; the other way round, it
   * would be freed twice. */
  void DropInactive() noexcept {
    Atomic<uint64_t>& other = stripe_.tables_[1 - Get(stripe_.active_)];
    const TableWord table = Get(other);
    if (table == 0) return;
    Put(other, 0);
    alloc_.FreeOffsetNoNullCheck(ctx_, OffsetPtr<>(TableOffset(table)));
  }

  void CountSlots(uint64_t* count, uint64_t* used) const noexcept {
    for (uint64_t i = 0; i < slot_count_; ++i) {
      const uint64_t slot = Get(slots_[i]);
      *count += HasNode(slot) ? 1 : 0;
      *used += slot != kEmpty ? 1 : 0;
    }
  }

  /** Called with the lock of a holder that died in it. */
  HSHM_NOINLINE void Repair() noexcept {
    UseActive();
    DropInactive();
    uint64_t count = 0;
    uint64_t used = 0;
    CountSlots(&count, &used);
    Put(stripe_.count_, count);
    Put(stripe_.used_, used);
  }

  AllocT& alloc_;
  const MemContext ctx_;
  Stripe& stripe_;
  const uint32_t first_log2_;
  const LockIdentity me_;
  TableWord table_ = 0;
  uint64_t slot_count_ = 0;
  Slot* slots_ = nullptr;
};

}  // namespace hshm::ipc::map_layout

#endif  // HSHM_DATA_STRUCTURES_UNORDERED_MAP_LOCKED_STRIPE_H_
