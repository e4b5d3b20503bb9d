#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_TAKER_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_TAKER_H_

#include "hermes_shm/memory/allocator/multi_process/sweeper.h"

namespace hshm::ipc::multi_process {

/**
 * Takes pages that nobody uses from processes and threads that are alive but asleep. Runs under the
 * process lock and the root mutex. Protocol: docs/protocols.md, C (taking).
 *
 * Invariant  A span is taken whole, by one store to its head's owner word, while nobody has a block
 *            of it (pushes not drained == used), its owner is outside of its slow path, and it is
 *            not in hand. Every page is opened by CAS, by whomever.
 * Ordering   The owner lowers used_ with release after its last list store; the taker acquires it.
 * ABA        Pushes only grow, and used_ only falls but for a page in hand: two reads cannot agree
 *            by chance. A page is taken in hand and put down under the heap's lock, as it is taken.
 * Crash      Before the owner store nothing happened. After it the span is the dead taker's. A lock
 *            held by a dead taker needs no repair; one whose owner died in it is left to Sweep. An
 *            owner may be dead unseen, where the next process of its slot has not swept yet: what
 *            it left half done in a span that nobody uses is one page behind it, which is freed,
 *            and lists, of which none is read.
 */
template <typename Config>
class Taker {
 public:
  Taker(ProcessBlock<Config>* process, ThreadHeap<Config>* heap)
      : process_(process), heap_(heap), root_(process->root()), pages_(process->pages()) {}

  /** An open span of the heap with used_ 1 from pages of the living; kNoPage when there is none. */
  uint32_t Take(uint32_t pages, uint32_t alignment) noexcept;
  /** A free page with its memory, not open, for a heap that has no record yet, or kNoPage. */
  uint32_t FreeOnePage() noexcept;

 private:
  uint32_t Search(uint32_t begin, uint32_t end, uint32_t pages, uint32_t alignment) noexcept;
  /** Pages from here on that one step can win: a free page, a wholly free span; 0 if neither. */
  uint32_t Winnable(uint32_t page) noexcept;
  /** Whether the page is in a unit whose process lives. *cover_end: a page up to here at which a
   * unit, a large block or a free granule ends; afterwards the end of what covers the page. */
  bool IsInUnitOfLiving(uint32_t page, uint32_t* cover_end) noexcept;
  uint32_t SpanAt(uint32_t page) const noexcept;
  /** Takes and empties every span in [begin, end). The first page that resisted, or end. */
  uint32_t Empty(uint32_t begin, uint32_t end) noexcept;
  bool IsInHand(uint32_t page) noexcept;
  bool TakeSpan(uint32_t head) noexcept;
  bool Open(uint32_t first, uint32_t pages) noexcept;
  HeapRecord<Config>* FindRecord(HeapId id) noexcept;
  HeapRecord<Config>* RecordIn(uint32_t page, HeapId id) const noexcept;
  bool IsAlive(uint32_t slot) noexcept;

  ProcessBlock<Config>* process_;
  ThreadHeap<Config>* heap_;
  RootTier<Config>& root_;
  const PageTable<Config>& pages_;
  SlotSet asked_;
  SlotSet alive_;
  bool is_memory_gone_ = false;  // the system refused some: only pages that have theirs will do
  HeapId record_of_ = 0;         // whose record FindRecord found last
  HeapRecord<Config>* record_ = nullptr;
};

extern template class Taker<LargePages>;
extern template class Taker<SmallPages>;
extern template class Taker<CheckedLargePages>;
extern template class Taker<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_TAKER_H_
