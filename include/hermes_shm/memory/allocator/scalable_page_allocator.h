#ifndef HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_ALLOCATOR_H_
#define HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_ALLOCATOR_H_

#include <cstdint>

#include "hermes_shm/memory/allocator/base_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page/class_blocks.h"
#include "hermes_shm/memory/allocator/scalable_page/page_pool.h"

namespace hshm::ipc {

/**
 * One page heap for all threads of all processes of a region, locked per size class. For regions
 * that many processes use a little: nobody keeps pages, units or lists of their own, so a region
 * serves thousands of processes at no cost for each, and every free page is everybody's at once. It
 * finds double frees and pointers into blocks at the call. Where few processes allocate much, the
 * MultiProcessAllocator is faster: its fast path takes no lock.
 *
 *   blocks up to 64 KiB    80 sizes, as in the MultiProcessAllocator      a mutex for each size
 *   larger blocks          runs of whole pages of 64 KiB                  one mutex for all pages
 *
 * Pages, their table, the sizes and the buddy lists are those of the MultiProcessAllocator. Whether
 * a block is somebody's is one bit, out of line; the word of that bit is stored once an operation,
 * and everything else can be counted from there. What describes a page takes 604 bytes, a
 * hundredth.
 *
 * Memory is committed as it is first used. A page of which nobody has a block serves any size
 * again, but for one page a size, which is let go before null is the answer; the memory of long
 * runs goes back to the system with them, that of other free pages with Trim. Blocks stay when
 * their process detaches or dies, and anyone frees them. A process that dies in a call may leave
 * one block that nobody knows. Null means that there is no such run of free pages; or that a lock's
 * holder has been stopped for 30 s.
 *
 * Alignment counts from the region start: an address has it as far as the backend's base does.
 * Protocol: docs/protocols.md, F. Crash lines: PagePool and ClassBlocks.
 */
template <typename Config>
class HSHM_API BasicScalablePageAllocator
    : public BaseAllocator<BasicScalablePageAllocator<Config>> {
  using Base = BaseAllocator<BasicScalablePageAllocator<Config>>;

 public:
  static constexpr AllocatorType kType = Config::kPageShift == multi_process::LargePages::kPageShift
                                             ? AllocatorType::kScalablePage
                                             : AllocatorType::kScalablePageSmallPages;

  /** Every size; 0 gives a block of 16 bytes. */
  OffsetPtr<> AllocateOffset(const MemContext& ctx, size_t size) noexcept {
    return AlignedAllocateOffset(ctx, size, kDefaultAlignment);
  }
  OffsetPtr<> AlignedAllocateOffset(const MemContext& ctx, size_t size, size_t alignment) noexcept {
    if (ctx.IsArena()) return this->AllocateInArena(ctx, size, alignment);
    return AllocateBlock(size, alignment);
  }
  /** In place within a size, and for runs when the pages behind them are free. */
  OffsetPtr<> ReallocateOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset,
                                          size_t size) noexcept {
    return ctx.IsArena() ? this->ReallocateInArena(ctx, offset, size)
                         : ReallocateBlock(offset, size);
  }
  void FreeOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset) noexcept {
    ctx.IsArena() ? this->FreeInArena(ctx, offset) : FreeBlock(offset);
  }

  /** For GetUsableSize. */
  size_t GetUsableBytes(OffsetPtr<> offset) noexcept;
  /** For ResizeInPlace. */
  bool ResizeBlock(OffsetPtr<> offset, size_t size) noexcept;

  /** Bytes of all blocks, sizes rounded up. Takes no lock; exact while no one works. */
  size_t GetCurrentlyAllocatedSize() noexcept;

  /** There is no state per thread: the context names the process alone. */
  MemContext CreateTls(const MemContext& ctx) noexcept;
  void FreeTls(const MemContext& ctx) noexcept;

  /** Takes all locks and walks everything: entries, spans, marks, lists, counts. Says what is wrong
   * on standard error. */
  [[nodiscard]] bool Check() noexcept;

  /** Gives the memory of all pages without blocks back to the system. */
  void Trim() noexcept;

 private:
  friend Base;

  MemContext Init(Offset core);
  MemContext Attach(Offset core);
  void Detach() noexcept { is_open_ = false; }

  void Require(const char* operation) const noexcept {
    if (HSHM_UNLIKELY(!is_open_)) defect::NotAttached(operation);
  }
  void AddStats(AllocatorStats* stats);
  OffsetPtr<> AllocateBlock(size_t size, size_t alignment) noexcept;
  OffsetPtr<> ReallocateBlock(OffsetPtr<> offset, size_t size) noexcept;
  void FreeBlock(OffsetPtr<> offset) noexcept;
  MemContext Open(scalable_page::ScalableHeader<Config>* header) noexcept;
  Offset AllocateClass(uint32_t size_class) noexcept;
  Offset AllocateRun(uint64_t size, uint64_t alignment) noexcept;
  Offset OpenRun(uint32_t pages, uint32_t alignment) noexcept;
  bool Resize(uint32_t head, uint64_t usable, uint64_t new_bytes) noexcept;
  uint64_t BytesAt(const char* operation, uint32_t head, Offset block) noexcept;

  bool is_open_ = false;
  Patience patience_;
  scalable_page::PagePool<Config> pool_;
  scalable_page::ClassBlocks<Config> blocks_;
};

extern template class BasicScalablePageAllocator<multi_process::LargePages>;
extern template class BasicScalablePageAllocator<multi_process::SmallPages>;

/** What applications use: 64 KiB pages. */
using ScalablePageAllocator = BasicScalablePageAllocator<multi_process::LargePages>;
/** 4 KiB pages, for regions of a few hundred KiB. */
using SmallScalablePageAllocator = BasicScalablePageAllocator<multi_process::SmallPages>;
static_assert(CoreAllocator<ScalablePageAllocator>);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_ALLOCATOR_H_
