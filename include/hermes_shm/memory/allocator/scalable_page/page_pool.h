#ifndef HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_PAGE_POOL_H_
#define HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_PAGE_POOL_H_

#include <optional>

#include "hermes_shm/memory/allocator/multi_process/root_tier.h"
#include "hermes_shm/memory/allocator/scalable_page/layout.h"
#include "hermes_shm/memory/backend/membership.h"

namespace hshm::ipc::scalable_page {

/** A lock of the heap for a scope. Not held when its holder has been stopped for 30 s, or when this
 * is a forked child for which there is no slot. */
class HeldLock {
 public:
  HeldLock(Mutex& mutex, Membership& members, Patience& patience) noexcept {
    const LockIdentity me = members.IdentityOrRejoin();
    if (me.peers_ == nullptr) return;
    guard_.emplace(mutex, me, patience.TimeoutUs(mutex));
    patience.Note(mutex, guard_->result());
  }
  bool IsHeld() const noexcept { return guard_.has_value() && guard_->IsHeld(); }
  /** What its last holder left has to be repaired first. */
  bool OwnerDied() const noexcept {
    return guard_.has_value() && guard_->result() == LockResult::kOwnerDied;
  }

 private:
  std::optional<MutexGuard> guard_;
};

/**
 * The pages of the region as one process sees them: opened as spans, let go, lengthened, shortened.
 * Protocol: docs/protocols.md, F.
 *
 * Invariant  A span is open while its head's shape_ is not 0. Entries of free pages are empty.
 * Owner words, spans and the shapes of runs change under pages_lock_ alone; the shape of a class
 *            page changes under its class's lock as well.
 * Ordering   The mutex; for a dead holder's stores, its taker's query. frontier_ is released after
 *            the memory behind it is there, and acquired by who reads entries without the lock.
 * ABA        None: nothing is changed outside of the lock.
 * Crash      The next holder empties spans without a shape, and marks behind spans, and makes the
 *            lists and counts anew from the entries. Repeatable from any point.
 */
template <typename Config>
class HSHM_API PagePool {
 public:
  using Header = ScalableHeader<Config>;
  using Pages = multi_process::PageTable<Config>;

  PagePool() = default;
  PagePool(const Region& region, Header* header, Membership* members, Patience* patience);

  /** Lays the heap out over [header_offset, end of region), nothing in use.
   * @throws Error kOutOfRange when no page is left, kNoSpace */
  static Header* Init(const Region& region, Offset header_offset);
  /** True when the header is such as Init makes it. */
  static bool Fits(const Region& region, Offset header_offset);

  /** pages_lock_ for a scope; the lists are right when it is held. */
  class Guard {
   public:
    explicit Guard(PagePool& pool) noexcept;
    bool IsHeld() const noexcept { return lock_.IsHeld(); }

   private:
    HeldLock lock_;
  };

  const Pages& pages() const noexcept { return pages_; }
  PageNote* notes() const noexcept { return notes_; }
  OwnedWord<uint64_t>* MarksOf(uint32_t page) const noexcept { return marks_[page].words_; }
  Header& header() const noexcept { return *header_; }
  Membership& members() const noexcept { return *members_; }
  Patience& patience() const noexcept { return *patience_; }
  uint32_t Frontier() const noexcept {
    return header_->frontier_.load(std::memory_order_acquire);  // pairs with CommitTo
  }
  uint32_t page_count() const noexcept { return header_->page_count_; }
  /** Head of the span that an offset lies in. Stops with ForeignPointer or InvalidFree when it lies
   * in none. */
  uint32_t HeadAt(const char* operation, Offset block) const noexcept;

  // ---- each takes the lock -------------------------------------------------------------------

  /** A span of fresh or free pages, open with this shape, its first page a multiple of alignment.
   * Its memory may still be missing. kNoPage: no such run of pages. */
  uint32_t Open(uint32_t pages, uint32_t alignment, uint32_t shape) noexcept;
  /** Lets a span go. False, and nothing happens, when its lock cannot be had. */
  bool Close(uint32_t head) noexcept;
  /** Lets a run go. Stops with InvalidFree when the block is none. */
  void CloseRun(Offset block) noexcept;
  /** The run longer or shorter in place, with its memory; false when it has to move. */
  bool ResizeRun(uint32_t head, uint32_t pages) noexcept;
  /** Gives the memory of all free pages back to the system. */
  void Trim() noexcept;

  /** Makes the pages' memory usable and notes so; whoever has the span open. False when the system
   * has none. */
  bool Commit(uint32_t first, uint32_t pages) const noexcept;

  // ---- with the lock held --------------------------------------------------------------------

  BuddyEngine Engine() const noexcept;

 private:
  uint32_t Take(uint32_t pages, uint32_t alignment) noexcept;
  void Release(uint32_t head) noexcept;
  bool Lengthen(uint32_t head, uint32_t pages) noexcept;
  void Shorten(uint32_t head, uint32_t pages) noexcept;
  bool GrowTo(uint64_t needed_frontier) noexcept;
  bool CommitTo(uint32_t new_frontier) noexcept;
  bool CommitArray(Offset array, uint64_t item_bytes, uint32_t first, uint32_t end) noexcept;
  void Decommit(uint32_t first, uint32_t pages) const noexcept;
  void Rebuild() noexcept;
  void CountRuns(int64_t pages) noexcept;

  Region region_;
  Header* header_ = nullptr;
  Membership* members_ = nullptr;
  Patience* patience_ = nullptr;
  Pages pages_;
  BuddyNode* nodes_ = nullptr;
  PageNote* notes_ = nullptr;
  PageMarks<Config>* marks_ = nullptr;
};

extern template class PagePool<multi_process::LargePages>;
extern template class PagePool<multi_process::SmallPages>;

}  // namespace hshm::ipc::scalable_page

#endif  // HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_PAGE_POOL_H_
