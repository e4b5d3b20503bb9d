#ifndef HSHM_MEMORY_ALLOCATOR_BUDDY_ALLOCATOR_H_
#define HSHM_MEMORY_ALLOCATOR_BUDDY_ALLOCATOR_H_

#include <cstdint>

#include "hermes_shm/memory/allocator/allocator_view.h"
#include "hermes_shm/memory/allocator/base_allocator.h"
#include "hermes_shm/memory/allocator/buddy/buddy_core.h"
#include "hermes_shm/sync/patience.h"

namespace hshm::ipc {

/** A BuddyAllocator for kernels, see AllocatorView. */
using BuddyAllocatorView = AllocatorView<BuddyCore<BuddyKernelLock>>;

/**
 * A buddy system for blocks of any size, shared by all processes of a region through one lock. For
 * medium and large blocks, and wherever memory must come back: neighbours merge as they are freed.
 *
 * A block is a run of whole granules of 64 bytes (more in regions above 64 GiB, so that there are
 * at most 2^30): no two blocks share a cache line. A block's unused tail is given back granule by
 * granule. State costs 12 bytes a granule, out of line: 3/16 of what is in use.
 *
 * Memory is committed from the bottom upwards, in steps from 64 KiB to 4 MiB, together with the
 * nodes that describe it; what was committed once stays. Blocks, and arenas that were not popped,
 * stay when their process detaches or dies. A process that dies in a call may leave one block that
 * nobody knows. When the lock's holder has been stopped for 30 s, allocations are null and freed
 * blocks stay; the same in a forked child for which there is no process slot.
 *
 * Invariant  A granule below frontier_ is in use if and only if a user mark {granules} covers it.
 *            Marks change under lock_ only; each operation commits with one store of a mark, or of
 *            frontier_.
 * Ordering   The mutex; for a dead holder's stores, its taker's query.
 * ABA        None: nothing is changed outside of the lock.
 * Crash      The next holder is told kOwnerDied, throws the lists away and makes them anew from the
 *            marks. Before an operation's store: it has not happened. After it: it has; a block
 *            marked but not yet returned is lost. Before frontier_: committed memory, not yet used.
 */
class HSHM_API BuddyAllocator : public BaseAllocator<BuddyAllocator> {
 public:
  static constexpr AllocatorType kType = AllocatorType::kBuddy;

  /** Every size; 0 gives a block of one granule. Null when there is no room. */
  OffsetPtr<> AllocateOffset(const MemContext& ctx, size_t size) noexcept {
    return AlignedAllocateOffset(ctx, size, kDefaultAlignment);
  }
  /** Offsets are aligned; addresses as far as the region's base is. */
  OffsetPtr<> AlignedAllocateOffset(const MemContext& ctx, size_t size, size_t alignment) noexcept {
    if (ctx.IsArena()) return AllocateInArena(ctx, size, alignment);
    return AllocateBlock(size, alignment);
  }
  /** In place when it gets smaller, or when the granules behind the block are free. */
  OffsetPtr<> ReallocateOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset,
                                          size_t size) noexcept {
    return ctx.IsArena() ? ReallocateInArena(ctx, offset, size) : ReallocateBlock(offset, size);
  }
  void FreeOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset) noexcept {
    ctx.IsArena() ? FreeInArena(ctx, offset) : FreeBlock(offset);
  }
  /** For GetUsableSize: whole granules; 0 when the lock cannot be had. */
  size_t GetUsableBytes(OffsetPtr<> offset) noexcept;
  /** For ResizeInPlace. */
  bool ResizeBlock(OffsetPtr<> offset, size_t size) noexcept;

  /** Bytes of all blocks, in whole granules. */
  size_t GetCurrentlyAllocatedSize() noexcept;

  /** There is no state per thread: the context names the process alone. */
  MemContext CreateTls(const MemContext& ctx) noexcept;
  void FreeTls(const MemContext& ctx) noexcept;

  /**
   * For kernels, by value. kernel_base: where they see the region's first byte; null: here. Their
   * operations are null when the lock cannot be had for some seconds; processes take it after them.
   */
  BuddyAllocatorView View(char* kernel_base = nullptr) const noexcept {
    return ViewOf<BuddyCore<BuddyKernelLock>>(region_, buddy_, id_, kernel_base);
  }

  /** Takes the lock and walks everything: marks, lists, buddies, counts. */
  [[nodiscard]] bool Check() noexcept;

 private:
  friend class BaseAllocator<BuddyAllocator>;
  class ProcessLock;

  MemContext Init(Offset core);
  MemContext Attach(Offset core);
  void Detach() noexcept { buddy_ = nullptr; }

  void AddStats(AllocatorStats* stats);
  OffsetPtr<> AllocateBlock(size_t size, size_t alignment) noexcept;
  OffsetPtr<> ReallocateBlock(OffsetPtr<> offset, size_t size) noexcept;
  void FreeBlock(OffsetPtr<> offset) noexcept;

  BuddyCore<ProcessLock> Core() noexcept;
  BuddyState State() const noexcept { return BuddyState(region_, buddy_); }
  void Rebuild() noexcept;
  bool CheckLocked() const noexcept;
  void AddStatsLocked(AllocatorStats* stats) const noexcept;

  BuddyHeader* buddy_ = nullptr;
  Patience patience_;
};
static_assert(CoreAllocator<BuddyAllocator>);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_BUDDY_ALLOCATOR_H_
