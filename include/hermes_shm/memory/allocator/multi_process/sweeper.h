#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_SWEEPER_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_SWEEPER_H_

#include <bitset>

#include "hermes_shm/memory/allocator/allocator_header.h"
#include "hermes_shm/memory/allocator/multi_process/process_block.h"

namespace hshm::ipc::multi_process {

/** A set of process slots. */
using SlotSet = std::bitset<kMaxSlots>;

/**
 * Adopts what processes left that are no more: their heaps' lists are given back to the pages, the
 * pages and units get the sweeper's label. Runs under the process lock and the root mutex.
 * Protocol: docs/protocols.md, D (Sweep).
 *
 * Invariant  Who is dead is asked once, before anything is touched: a process that dies between the
 *            passes keeps heap and pages together for the next sweep.
 * Ordering   The query that says "dead" acquires all that the dead process wrote.
 * ABA        Heap ids are never reused: pages half adopted by a dead sweeper match no living heap.
 * Crash      Every step can be repeated. Pages relabelled already belong to the dead sweeper, the
 *            others to the first dead; the next sweep finds both.
 */
template <typename Config>
class Sweeper {
 public:
  enum Whom { kOthersOnly, kAlsoOwnSlot };

  /** heap adopts; it belongs to the calling thread. */
  Sweeper(ProcessBlock<Config>* process, ThreadHeap<Config>* heap)
      : process_(process),
        heap_(heap),
        root_(process->root()),
        pages_(process->pages()),
        counts_(root_.header().deaths_) {}

  /** @return how many processes had left something */
  uint32_t Run(Whom whom) noexcept;

  /** Deletes every page, unit and large block of one slot that carries no adopted blocks. Those
   * that do are adopted or, when the slot is our own and about to be left, stay as they are.
   * @return false when remote frees that wait in the heap of a stopped process could not be had:
   * then nothing was done or, of our own slot, its pages stay for a later sweep */
  bool DeleteSlot(uint32_t slot) noexcept;

  /** True when a unit or page carries the slot's label. */
  bool HasLabel(uint32_t slot) noexcept;

  /** A slot that labels something and that a living process other than this one has; else
   * Mutex::kNoSlot. */
  uint32_t LivingStranger() noexcept;

 private:
  SlotSet FindLabels() noexcept;
  void SettleHeaps() noexcept;
  void SettleRecords(uint32_t page) noexcept;
  bool PostRunsOfLiving() noexcept;
  uint64_t HeapTimeoutUs() const noexcept;
  bool PostRunsOf(HeapRecord<Config>* record) noexcept;
  void SweepPages() noexcept;
  void SweepPage(uint32_t page, uint32_t unit_end) noexcept;
  bool HasBlocks(uint32_t page) const noexcept;
  uint64_t LiveBytes(uint32_t page) const noexcept;
  void CountDeleted(uint32_t page) noexcept;
  void DropRoots(uint32_t page, uint32_t pages) noexcept;
  void SweepUnits() noexcept;
  void AdoptUnit(uint32_t granule, uint32_t granules) noexcept;
  bool IsDeletedOnDeath(uint32_t slot) const noexcept;

  ProcessBlock<Config>* process_;
  ThreadHeap<Config>* heap_;
  RootTier<Config>& root_;
  const PageTable<Config>& pages_;
  DeathCounts& counts_;
  SlotSet dead_;
  SlotSet deleted_;              // of the dead, those whose blocks go
  bool is_leaving_ = false;      // the slot is our own: nothing is adopted
  bool are_runs_posted_ = true;  // of pages that are to be deleted; else a later sweep deletes them
};

extern template class Sweeper<LargePages>;
extern template class Sweeper<SmallPages>;
extern template class Sweeper<CheckedLargePages>;
extern template class Sweeper<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_SWEEPER_H_
