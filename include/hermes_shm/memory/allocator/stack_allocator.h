#ifndef HSHM_MEMORY_ALLOCATOR_STACK_ALLOCATOR_H_
#define HSHM_MEMORY_ALLOCATOR_STACK_ALLOCATOR_H_

#include <cstdint>

#include "hermes_shm/memory/allocator/allocator_view.h"
#include "hermes_shm/memory/allocator/base_allocator.h"
#include "hermes_shm/memory/allocator/stack/stack_core.h"

namespace hshm::ipc {

/** A StackAllocator for kernels, see AllocatorView. */
using StackAllocatorView = AllocatorView<StackCore>;

/**
 * The simplest allocator: blocks one behind the other, one word for all processes and threads, no
 * lock. For set-up data, arenas that go as a whole, and as the model to read first.
 *
 * Freeing the topmost block gives its bytes back; so does freeing the last living block, and then
 * everything is free. A block freed in the middle is reused only then. Each block costs 16 bytes
 * more than its size, rounded up to 16. At most 2^27 - 1 blocks live at once, regions up to 2 TiB;
 * beyond that: no room. What a process allocated stays when it detaches or dies, open arenas too; a
 * process that dies in a call may leave one block that nobody knows, which then stays.
 *
 * Invariant  Bytes in [bottom, top) belong to at most one block each; a living block is counted in
 *            word_, and its size never reaches beyond its bytes (shrunk: size first; grown: last).
 * Ordering   Each change of word_ is one acq_rel CAS: who takes bytes sees the last use of whoever
 *            gave them back. All changes are read-modify-writes, so the order passes along.
 * ABA        What follows from word_ depends on its value alone: bytes above top are nobody's,
 *            whoever moved it meanwhile, and a living block that ends at top is the topmost.
 * Crash      Allocate after its CAS: one counted block without a header. Free between marking the
 *            block freed and its CAS: the same, with one. Reallocate between its two stores: the
 *            bytes behind the block's size are lost until everything is freed.
 */
class HSHM_API StackAllocator : public BaseAllocator<StackAllocator> {
 public:
  static constexpr AllocatorType kType = AllocatorType::kStack;

  /** Every size; 0 gives a block of 16 bytes. Null when there is no room. */
  OffsetPtr<> AllocateOffset(const MemContext& ctx, size_t size) noexcept {
    return AlignedAllocateOffset(ctx, size, kDefaultAlignment);
  }
  /** Offsets are aligned; addresses as far as the region's base is. */
  OffsetPtr<> AlignedAllocateOffset(const MemContext& ctx, size_t size, size_t alignment) noexcept {
    if (ctx.IsArena()) return AllocateInArena(ctx, size, alignment);
    return AllocateBlock(size, alignment);
  }
  /** In place when the block is the topmost, or gets smaller. */
  OffsetPtr<> ReallocateOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset,
                                          size_t size) noexcept {
    return ctx.IsArena() ? ReallocateInArena(ctx, offset, size) : ReallocateBlock(offset, size);
  }
  void FreeOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset) noexcept {
    ctx.IsArena() ? FreeInArena(ctx, offset) : FreeBlock(offset);
  }
  /** For GetUsableSize. */
  size_t GetUsableBytes(OffsetPtr<> offset) noexcept;
  /** For ResizeInPlace. */
  bool ResizeBlock(OffsetPtr<> offset, size_t size) noexcept;

  /** Bytes between bottom and top: headers, padding and blocks freed in the middle included. */
  size_t GetCurrentlyAllocatedSize() noexcept;

  /** There is no state per thread: the context names the process alone. */
  MemContext CreateTls(const MemContext& ctx) noexcept;
  void FreeTls(const MemContext& ctx) noexcept;

  /** For kernels, by value. kernel_base: where they see the region's first byte; null: here. */
  StackAllocatorView View(char* kernel_base = nullptr) const noexcept {
    return ViewOf<StackCore>(region_, stack_, id_, kernel_base);
  }

  /**
   * Walks all blocks; false when word_, marks or sizes contradict each other. While no call is
   * under way. Bytes that a death left without a header are stepped over.
   */
  [[nodiscard]] bool Check() noexcept;

 private:
  friend class BaseAllocator<StackAllocator>;

  MemContext Init(Offset core);
  MemContext Attach(Offset core);
  void Detach() noexcept { stack_ = nullptr; }

  void AddStats(AllocatorStats* stats);
  OffsetPtr<> AllocateBlock(size_t size, size_t alignment) noexcept;
  OffsetPtr<> ReallocateBlock(OffsetPtr<> offset, size_t size) noexcept;
  void FreeBlock(OffsetPtr<> offset) noexcept;

  StackCore Core() const noexcept { return StackCore(region_, stack_); }
  StackBlock* BlockAt(Offset header) const noexcept { return region_.At<StackBlock>(header); }
  uint64_t NextHeader(Offset from, Offset top) const noexcept;

  StackHeader* stack_ = nullptr;
};
static_assert(CoreAllocator<StackAllocator>);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_STACK_ALLOCATOR_H_
