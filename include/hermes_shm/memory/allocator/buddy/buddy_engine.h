#ifndef HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_ENGINE_H_
#define HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_ENGINE_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/check.h"
#include "hermes_shm/base/defects.h"
#include "hermes_shm/base/macros.h"
#include "hermes_shm/sync/atomic.h"

/**
 * A buddy system over numbered granules. It never sees the memory that the granules stand for: all
 * state is in a node per granule and a set of list heads, which may lie in shared or in private
 * memory. (Knuth, The Art of Computer Programming, volume 1, section 2.5.)
 *
 *     granule      0   1   2   3   4   5   6   7   8 ...
 *     node.mark_   -   -  [2 free:1]  [4 free:2      ]  -         - : in use, or inside a free
 * block
 */
namespace hshm::ipc {

inline constexpr uint32_t kBuddyOrders = 32;
inline constexpr uint32_t kBuddyMaxOrder = kBuddyOrders - 1;
/** Tags below this; the bit above them makes a mark the user's own. */
inline constexpr uint16_t kBuddyTags = 0x8000;
inline constexpr uint32_t kBuddyUserMark = uint32_t{1} << 31;

/**
 * Out-of-line state of one granule; zeroed memory is a granule in use. next_ and prev_ mean
 * something only while mark_ says that a free block begins here.
 *
 * mark_ is one word, so that engines with different tags may look at each other's nodes: only the
 * engine of a tag ever stores or clears a mark with it, and only such marks make it act. It may
 * read other values at any time; they all mean "not mine". A user may keep a word of its own, with
 * kBuddyUserMark set, in the first node of a run that it holds, and clears it before Free.
 */
struct BuddyNode {
  uint32_t next_;          // [owner] granule + 1 of the next block of the list, 0 ends it
  uint32_t prev_;          // [owner] granule + 1 of the one before, 0: this is the first
  Atomic<uint32_t> mark_;  // [owner] {user:1, tag:15, free:8, order:8}; 0 in use. Read by [any]
};
static_assert(std::is_standard_layout_v<BuddyNode>);
static_assert(sizeof(BuddyNode) == 12);

/** Heads of the free lists of one tag; zeroed memory is the empty set. */
struct BuddyLists {
  uint32_t heads_[kBuddyOrders];  // [owner] granule + 1 of the first free block of an order
  uint64_t nonempty_;             // [owner] bit k: heads_[k] is not 0
  uint64_t free_granules_;        // [owner] in all lists
};
static_assert(std::is_standard_layout_v<BuddyLists>);
static_assert(sizeof(BuddyLists) == 144);

/**
 * The operations, as a view (a value, cheap to make) of nodes and lists for granules
 * [first, first + count) and one tag. Not synchronised: one caller at a time per tag. Several
 * engines with different tags may run at once over one node array, each granule being handed from
 * one to the other by its users (Allocate here, Free there) with an order between the two.
 *
 * Blocks are aligned to their size by absolute granule number. Two buddies merge only when both are
 * free, carry this tag, lie in the range, and the result is at most 2^max_order granules. The lists
 * are last in, first out: an insertion costs O(1), and the memory freed last is committed and warm;
 * lowest address first would need an ordered tree. A split keeps the low half, so fresh memory is
 * still used upwards.
 *
 * Reads and writes only nodes of its range: those of blocks it is given, their neighbours, and the
 * marks of possible buddies and block heads around them; construction touches none.
 */
class HSHM_API BuddyEngine {
 public:
  /** No granule. */
  static constexpr uint32_t kNone = ~uint32_t{0};

  /** nodes is the node of granule 0; only those of the range need to exist. */
  HSHM_CROSS_FUN BuddyEngine(BuddyNode* nodes, BuddyLists* lists, uint32_t first_granule,
                             uint32_t granule_count, uint16_t tag, uint32_t max_order) noexcept
      : BuddyEngine(reinterpret_cast<uintptr_t>(nodes), lists, first_granule, granule_count, tag,
                    max_order) {}

  /** The same, given the address that the node of granule 0 would have if there was one. */
  HSHM_CROSS_FUN BuddyEngine(uintptr_t node_zero, BuddyLists* lists, uint32_t first_granule,
                             uint32_t granule_count, uint16_t tag, uint32_t max_order) noexcept;

  /**
   * A run of exactly so many granules (not 0), its first one a multiple of alignment (a power of
   * two, in granules). O(log n) from the smallest free block that is large enough, its unused tail
   * given back granule by granule; a run that is no power of two begins in the free granules before
   * that block, if there are any. When no single block will do, a scan of the free blocks joins
   * neighbours into a run, also beyond 2^max_order: O(free blocks * log n). kNone: no such run.
   */
  [[nodiscard]] HSHM_CROSS_FUN uint32_t Allocate(uint32_t granules,
                                                 uint32_t alignment = 1) noexcept;

  /**
   * Gives any run of granules back, in whole, in parts, or several runs at once. O(log n) for each
   * aligned block that it is cut into, at most 2 log n of them (plus one per 2^max_order granules).
   */
  HSHM_CROSS_FUN void Free(uint32_t first, uint32_t granules) noexcept;

  /** Takes exactly these granules if all are free here; else changes nothing and says false. */
  [[nodiscard]] HSHM_CROSS_FUN bool TakeRange(uint32_t first, uint32_t granules) noexcept;

  /** First granule of the free block that covers this one, and its order. kNone when none does. */
  HSHM_CROSS_FUN uint32_t FreeBlockAt(uint32_t granule, uint32_t* order) const noexcept;
  HSHM_CROSS_FUN bool IsFree(uint32_t granule) const noexcept {
    uint32_t order = 0;
    return FreeBlockAt(granule, &order) != kNone;
  }

  /** The first granule of [first, end) that a free block covers; end when none does. */
  HSHM_CROSS_FUN uint32_t FirstFreeIn(uint32_t first, uint32_t end) const noexcept;

  /** Granules of the largest single free block; 0 when nothing is free. */
  HSHM_CROSS_FUN uint32_t LargestFree() const noexcept {
    if (lists_->nonempty_ == 0) return 0;
    return static_cast<uint32_t>(uint64_t{1} << bits::FloorLog2(lists_->nonempty_));
  }
  HSHM_CROSS_FUN uint64_t free_granules() const noexcept { return lists_->free_granules_; }
  HSHM_CROSS_FUN uint32_t first_granule() const noexcept { return first_; }
  HSHM_CROSS_FUN uint32_t end_granule() const noexcept { return end_; }

  /**
   * Calls visit(first granule, order) for every free block, list by list, until it says false.
   * Nothing may be allocated or freed meanwhile. False when a call said so.
   */
  template <typename Visit>
  HSHM_CROSS_FUN bool ForEachFree(Visit&& visit) const {
    for (uint32_t order = 0; order < kBuddyOrders; ++order) {
      for (uint32_t link = lists_->heads_[order]; link != 0; link = NodeAt(link - 1)->next_) {
        if (!visit(link - 1, order)) return false;
      }
    }
    return true;
  }

  /**
   * True when lists, marks and counts say the same, no block overlaps another, and no two buddies
   * lie side by side unmerged. Reads every node of the range; ends on any contents.
   */
  [[nodiscard]] bool Check() const noexcept;

  /** Forgets all free blocks: clears this tag's marks in the range, whatever the lists say. */
  void Reset() noexcept;

 private:
  static constexpr uint32_t kFreeState = 1;

  HSHM_CROSS_FUN static constexpr uint32_t Granules(uint32_t order) noexcept {
    return uint32_t{1} << order;
  }
  /** Order of the largest aligned block that begins at first and ends at or before end. */
  HSHM_CROSS_FUN static uint32_t LargestOrderAt(uint32_t first, uint32_t end) noexcept {
    const uint32_t fits = bits::FloorLog2(end - first);
    return first == 0 ? fits : bits::Min(fits, bits::TrailingZeros(first));
  }
  /** What lists and marks say of a granule is wrong. */
  [[noreturn]] HSHM_CROSS_FUN static void StopAt(uint32_t granule) noexcept {
    defect::Corruption("what the lists of free granules say of the one", granule);
  }
  /** Links come from memory that anybody may have overwritten: none leads out of the range. */
  HSHM_CROSS_FUN BuddyNode* NodeAt(uint32_t granule) const noexcept {
#if HSHM_IS_HOST  // kernels have no registers to spare for it
    if (HSHM_UNLIKELY(granule - first_ >= end_ - first_)) StopAt(granule);
#endif
    return reinterpret_cast<BuddyNode*>(nodes_ + uintptr_t{granule} * sizeof(BuddyNode));
  }
  HSHM_CROSS_FUN uint32_t FreeMark(uint32_t order) const noexcept { return tag_bits_ | order; }
  HSHM_CROSS_FUN uint32_t MarkOf(uint32_t granule) const noexcept {
    return NodeAt(granule)->mark_.load(std::memory_order_relaxed);  // relaxed: own marks are ours
  }
  HSHM_CROSS_FUN void SetMark(uint32_t granule, uint32_t mark) const noexcept {
    NodeAt(granule)->mark_.store(mark, std::memory_order_relaxed);  // relaxed: others only skip it
  }
  /** True when a free block of this engine begins here. */
  HSHM_CROSS_FUN bool IsHead(uint32_t granule) const noexcept {
    return (MarkOf(granule) & ~uint32_t{0xff}) == tag_bits_;
  }
  /** As it stands there. */
  HSHM_CROSS_FUN uint32_t MarkedOrder(uint32_t head) const noexcept { return MarkOf(head) & 0xff; }
  /** Whether a block of this order could begin there: what was overwritten leads nobody out. */
  HSHM_CROSS_FUN bool CouldBe(uint32_t head, uint32_t order) const noexcept {
    return order <= max_order_ && uint64_t{head} + Granules(order) <= end_;
  }
  /** One that the block can have. */
  HSHM_CROSS_FUN uint32_t OrderOf(uint32_t head) const noexcept {
    const uint32_t order = MarkedOrder(head);
#if HSHM_IS_HOST  // as in NodeAt
    if (HSHM_UNLIKELY(!CouldBe(head, order))) StopAt(head);
#endif
    return order;
  }

  HSHM_CROSS_FUN void Push(uint32_t head, uint32_t order) noexcept;
  HSHM_CROSS_FUN void Remove(uint32_t head, uint32_t order) noexcept;
  HSHM_CROSS_FUN void PushMerged(uint32_t head, uint32_t order) noexcept;
  HSHM_CROSS_FUN void PushRest(uint32_t first, uint32_t end) noexcept;
  HSHM_CROSS_FUN uint32_t RunBefore(uint32_t head) const noexcept;
  HSHM_CROSS_FUN uint32_t AllocateJoined(uint32_t granules, uint32_t alignment) noexcept;
  HSHM_CROSS_FUN uint32_t RunInFrom(uint32_t head, uint32_t granules,
                                    uint32_t alignment) const noexcept;
  bool CheckList(uint32_t order, uint64_t* blocks, uint64_t* granules) const noexcept;
  bool CheckMarks(uint64_t blocks) const noexcept;

  uintptr_t nodes_;
  BuddyLists* lists_;
  uint32_t first_;
  uint32_t end_;
  uint32_t tag_bits_;
  uint32_t max_order_;
};

}  // namespace hshm::ipc

#if HSHM_IS_GPU
#include "hermes_shm/memory/allocator/buddy/buddy_engine_impl.h"
#endif

#endif  // HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_ENGINE_H_
