#ifndef HSHM_MEMORY_ALLOCATOR_MALLOC_ALLOCATOR_H_
#define HSHM_MEMORY_ALLOCATOR_MALLOC_ALLOCATOR_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/memory/allocator/base_allocator.h"

namespace hshm::ipc {

/** Bytes in use, as some of the threads count them; a line of its own. */
struct alignas(kCacheLineBytes) MallocCounter {
  Atomic<uint64_t> bytes_;  // [any] allocated less freed by these threads, modulo 2^64
};

inline constexpr uint32_t kMallocCounters = 64;

/** State of a MallocAllocator. Lies behind the common allocator header. */
struct alignas(kCacheLineBytes) MallocHeader {
  uint32_t os_pid_;           // [init] of the process whose malloc it is
  uint32_t reserved_;         //
  uint64_t start_time_;       // [init] of that process
  uint64_t pid_namespace_;    // [init] of that process
  uint64_t region_address_;   // [init] offsets count from here: the region must not move
  Atomic<int64_t> lowest_;    // [any]  offset, signed, of the lowest byte handed out so far
  Atomic<int64_t> highest_;   // [any]  one past the highest; lowest_ == highest_: none yet
  uint64_t reserved_end_[2];  //
  MallocCounter counters_[kMallocCounters];  // [any] each used by every 64th thread
};
static_assert(std::is_standard_layout_v<MallocHeader>);
static_assert(sizeof(MallocHeader) == 64 + 64 * kMallocCounters);  // frozen by the common version

/**
 * The system's malloc behind the common interface: for one process and all its threads, on private
 * backends. A program can be written for shared memory and tried on the allocator whose tools
 * (valgrind, heap profilers, sanitizers) it knows; and it is the measure for all the others.
 *
 * The region holds the headers, the custom header and the roots; the blocks are malloc's. The
 * offset of a block is its address less the region's, modulo 2^64, so it may point anywhere, and is
 * never 0. What the region's size limits elsewhere, only the system limits here; a block has at
 * most 2^47 bytes. Blocks that are not freed stay when the handle, or the region, goes: as with
 * malloc.
 *
 * It differs from the others where malloc tells less than they know:
 *   AlignedAllocateOffset     aligns the address; the offset only as far as the region's base is
 *   Contains                  says whether an address lies between the lowest and the highest byte
 *                             that were ever handed out; what others got from malloc may lie there
 *   Check                     looks at the header: malloc's own books cannot be walked
 *   wrong pointers            those outside of that range stop with ForeignPointer; of others,
 * malloc itself says what it notices
 *
 * Shared regions are refused, and so is attaching in another process than the maker's: Unsupported.
 * A forked child has its copy of region, blocks and handles, and goes on with them.
 *
 * Invariant  [lowest_, highest_) covers every block before its offset is returned; the counters'
 *            sum is what the living blocks can hold.
 * Ordering   Relaxed: nothing is published through these words.
 * ABA        None: the range only grows, the counters only add.
 * Crash      Everything goes with the process.
 */
class HSHM_API MallocAllocator : public BaseAllocator<MallocAllocator> {
 public:
  static constexpr AllocatorType kType = AllocatorType::kMalloc;
  static constexpr bool kAlignsAddresses = true;
  /** Offsets lead anywhere: structures that pack them into fewer bits cannot use this allocator. */
  static constexpr bool kBlocksLieInRegion = false;

  OffsetPtr<> AllocateOffset(const MemContext& ctx, size_t size) noexcept {
    return AlignedAllocateOffset(ctx, size, kDefaultAlignment);
  }
  OffsetPtr<> AlignedAllocateOffset(const MemContext& ctx, size_t size, size_t alignment) noexcept {
    if (ctx.IsArena()) return AllocateInArena(ctx, size, alignment);
    return AllocateBlock(size, alignment);
  }
  /** By realloc: a larger alignment than 16 is not kept when the block moves. */
  OffsetPtr<> ReallocateOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset,
                                          size_t size) noexcept {
    return ctx.IsArena() ? ReallocateInArena(ctx, offset, size) : ReallocateBlock(offset, size);
  }
  void FreeOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset) noexcept {
    ctx.IsArena() ? FreeInArena(ctx, offset) : FreeBlock(offset);
  }
  /** For GetUsableSize: as the system's malloc tells it. */
  size_t GetUsableBytes(OffsetPtr<> offset) noexcept;
  /** For ResizeInPlace. */
  bool ResizeBlock(OffsetPtr<> offset, size_t size) noexcept;

  /** Bytes that all blocks can hold: what malloc rounded the requests up to. */
  size_t GetCurrentlyAllocatedSize() noexcept;

  /** There is no state per thread: the context names the process alone. */
  MemContext CreateTls(const MemContext& ctx) noexcept;
  void FreeTls(const MemContext& ctx) noexcept;

  bool Contains(const void* ptr) const noexcept;
  template <typename T>
  bool Contains(OffsetPtr<T> offset) const noexcept {
    return !offset.IsNull() && IsInRange(Offset{offset.load()});
  }

  /** False when the header's words contradict each other, or the process. */
  [[nodiscard]] bool Check() noexcept;

 private:
  friend class BaseAllocator<MallocAllocator>;

  MemContext Init(Offset core);
  MemContext Attach(Offset core);
  void Detach() noexcept { malloc_ = nullptr; }

  void AddStats(AllocatorStats* stats);
  OffsetPtr<> AllocateBlock(size_t size, size_t alignment) noexcept;
  OffsetPtr<> ReallocateBlock(OffsetPtr<> offset, size_t size) noexcept;
  void FreeBlock(OffsetPtr<> offset) noexcept;

  void Require(const char* operation) const noexcept {
    if (HSHM_UNLIKELY(malloc_ == nullptr)) defect::NotAttached(operation);
  }
  bool IsInRange(Offset offset) const noexcept;
  void* BlockAt(const char* operation, Offset offset) const noexcept;
  Offset Note(void* block, uint64_t usable_bytes) noexcept;
  Atomic<uint64_t>& Counter() noexcept;

  MallocHeader* malloc_ = nullptr;
};
static_assert(CoreAllocator<MallocAllocator>);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_MALLOC_ALLOCATOR_H_
