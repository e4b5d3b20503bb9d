#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_BLOCK_MARKS_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_BLOCK_MARKS_H_

#include <cstring>

#include "hermes_shm/memory/allocator/multi_process/layout.h"

/** Marks are looked at and changed where they are. */
#if defined(__x86_64__) && HSHM_IS_HOST && !HSHM_THREAD_SANITIZER
#define HSHM_MARKS_IN_PLACE 1
#else
#define HSHM_MARKS_IN_PLACE 0
#endif

namespace hshm::ipc::multi_process {

/**
 * What begins at each 16 bytes of data, in the policy Checked: a byte for each, behind the page
 * table, so that no write into a block reaches them. Of a byte's own:
 *
 *     0              no block, or one that was never on a list
 *     kind           a block of that kind, which is nobody's; kind is the class + 1, or kRun
 *     kind | kLive   a block that a user has
 *
 *     Allocate, off its list: kind -> kind | kLive        free, before it is listed: the other way
 *
 * Invariant  A live mark: a user has the block. A block on a list has the mark of its kind; where
 *            no block begins, and in a free page, it is 0. That a mark is not live proves nothing.
 * Ordering   The page's owner stores, by one instruction where that can change a byte in memory,
 *            which is no atomic operation to other processors; others free by CAS. A
 *            user's mark stands still until somebody frees, so whoever may free may read it
 *            relaxed. Of two frees by others one CAS wins. What a free by another stored is
 *            published with the block by its push, and acquired by the drain. An owner's free that
 *            races with another's of the same block may miss it; the block is then met again on a
 *            list when a user has it.
 * ABA        None: marks are bytes of their own, and kind is the same as long as the page is used.
 * Crash      A death between mark and list leaves a block on no list, with the mark of a free one:
 *            the one that its thread may lose. No user knows of it, so no survivor sees a defect
 *            that is none. Retire clears what the page's lists no longer name; it is repeated.
 */
class BlockMarks {
 public:
  static constexpr uint64_t kUnitBytes = 16;
  static constexpr uint8_t kLive = 0x80;
  static constexpr uint8_t kRun = 0x7f;

  BlockMarks() = default;
  BlockMarks(const Region& region, Offset offset) : marks_(region.At<Atomic<uint8_t>>(offset)) {}

  /** Bytes of marks for so many bytes of data. */
  static constexpr uint64_t BytesFor(uint64_t data_bytes) { return data_bytes / kUnitBytes; }
  static constexpr uint8_t OfClass(uint32_t size_class) {
    return static_cast<uint8_t>(size_class + 1);
  }

  /** The mark for the 16 bytes around an offset. */
  HSHM_INLINE Atomic<uint8_t>& At(Offset block) const { return marks_[block / kUnitBytes]; }
  HSHM_INLINE uint8_t Get(Offset block) const {
    return At(block).load(std::memory_order_relaxed);  // relaxed: see Ordering
  }
  /** Page owner, or whoever acts for it. */
  HSHM_INLINE void Set(Offset block, uint8_t mark) const {
    std::atomic_signal_fence(std::memory_order_seq_cst);  // pairs with the kernel's word of a death
    At(block).store(mark, std::memory_order_relaxed);     // relaxed: program order is enough
    std::atomic_signal_fence(std::memory_order_seq_cst);  // pairs with the kernel's word of a death
  }

  /** On the path of each allocation and free, where one instruction stands for a load, a test and a
   * store. Whether the mark is this one. */
  HSHM_INLINE bool Is(Offset block, uint8_t mark) const {
#if HSHM_MARKS_IN_PLACE
    bool is_same;
    asm("cmpb %2, %1" : "=@cce"(is_same) : "m"(At(block)), "q"(mark));
    return is_same;
#else
    return Get(block) == mark;
#endif
  }
  /** Page owner: the block that is nobody's is a user's from here on. */
  HSHM_INLINE void Give(Offset block) const {
#if HSHM_MARKS_IN_PLACE
    asm volatile("orb %1, %0" : "+m"(At(block)) : "i"(kLive) : "memory");
#else
    Set(block, Get(block) | kLive);
#endif
  }
  /** Whether a user has a block that begins there. */
  bool IsLive(Offset block) const { return block % kUnitBytes == 0 && (Get(block) & kLive) != 0; }
  /** Page owner. False when no user has a block there. */
  [[nodiscard]] HSHM_INLINE bool Return(Offset block) const {
    if (HSHM_UNLIKELY(block % kUnitBytes != 0 || !IsOfUser(block))) return false;
#if HSHM_MARKS_IN_PLACE
    asm volatile("xorb %1, %0" : "+m"(At(block)) : "i"(kLive) : "memory");
#else
    Set(block, Get(block) ^ kLive);
#endif
    return true;
  }
  /** Anybody else. False when no user has a block there, or another was faster. */
  [[nodiscard]] bool ReturnFromAfar(Offset block) const {
    uint8_t mark = Get(block);
    return block % kUnitBytes == 0 && (mark & kLive) != 0 &&
           At(block).compare_exchange_strong(
               mark, static_cast<uint8_t>(mark ^ kLive),
               std::memory_order_relaxed,   // relaxed: the push that follows publishes it
               std::memory_order_relaxed);  // relaxed: failure is all there is to know
  }
  /** Whoever empties a page: no block begins in [begin, begin + bytes) from here on. */
  void Clear(Offset begin, uint64_t bytes) const {
    std::memset(static_cast<void*>(&At(begin)), 0, bytes / kUnitBytes);  // nobody looks at them
  }

 private:
  HSHM_INLINE bool IsOfUser(Offset block) const {
#if HSHM_MARKS_IN_PLACE
    bool is_live;
    asm("testb %2, %1" : "=@ccnz"(is_live) : "m"(At(block)), "i"(kLive));
    return is_live;
#else
    return (Get(block) & kLive) != 0;
#endif
  }

  Atomic<uint8_t>* marks_ = nullptr;
};
static_assert(sizeof(Atomic<uint8_t>) == 1);

/** In the policy Fast: nothing, and no room for it. */
struct NoMarks {
  NoMarks() = default;
  NoMarks(const Region&, Offset) {}
  static constexpr uint64_t BytesFor(uint64_t) { return 0; }
};

/** What a page held that is free now, so that a second free of its blocks has its right name.
 * {back:32 pages to the head, carved:16, class:8, kind:8}; 0: nothing is known. */
struct FormerBlocks {
  static constexpr uint64_t Make(uint32_t shape, uint32_t carved, uint32_t back) {
    return (uint64_t{back} << 32) | (uint64_t{carved} << 16) | (shape & 0xffff);
  }
  static constexpr uint32_t Shape(uint64_t word) { return static_cast<uint32_t>(word & 0xffff); }
  static constexpr uint32_t Carved(uint64_t word) {
    return static_cast<uint32_t>(word >> 16) & 0xffff;
  }
  static constexpr uint32_t Back(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
};

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_BLOCK_MARKS_H_
