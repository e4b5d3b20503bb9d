#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_CARVE_ORDER_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_CARVE_ORDER_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"

namespace hshm::ipc::multi_process {

/**
 * The order in which the blocks of a page are carved: from one that depends on the page's number to
 * the page's end, then from its beginning. The blocks that are carved first are those that a
 * program with few blocks of a size uses all the time. If they lay where their pages begin, those
 * of all sizes would share one set of each cache, which holds a dozen lines.
 *
 * It is the same for all who look at the page, and no word says it: carved_ counts along it. What
 * the constructor computes is part of the layout of a region. See
 * docs/decisions/0025-colours-of-pages.md.
 */
class CarveOrder {
 public:
  /** Of a page with room for so many blocks. Page 0, which has none, stands for spans: they are
   * carved from their beginning. */
  HSHM_INLINE CarveOrder(uint32_t page, uint32_t capacity)
      : capacity_(capacity),
        first_(static_cast<uint32_t>(uint64_t{page * kGoldenRatio} * capacity >> 32)) {}

  /** The number of the block that is carved after so many others, fewer than there are. */
  HSHM_INLINE uint32_t BlockAt(uint32_t turn) const {
    return turn < capacity_ - first_ ? first_ + turn : first_ + turn - capacity_;
  }
  /** How many blocks are carved before the block of that number. */
  HSHM_INLINE uint32_t TurnOf(uint32_t block) const {
    return block >= first_ ? block - first_ : block + capacity_ - first_;
  }
  /** Whether there is a block of that number, and it is one of the first so many. */
  HSHM_INLINE bool IsAmong(uint32_t carved, uint64_t block) const {
    return block < capacity_ && TurnOf(static_cast<uint32_t>(block)) < carved;
  }
  /** Blocks that lie side by side from that one on until the order leaves off, or goes on with the
   * page's beginning. */
  HSHM_INLINE uint32_t InRowAt(uint32_t turn) const {
    return turn < capacity_ - first_ ? capacity_ - first_ - turn : capacity_ - turn;
  }

 private:
  static constexpr uint32_t kGoldenRatio = 0x9e3779b9;  // * 2^-32: neighbours differ most

  uint32_t capacity_;
  uint32_t first_;
};

/** Blocks of a page that are side by side in its order, and not carved yet. */
struct FreshBlocks {
  uint64_t place_;  // of the first, in bytes from the page's beginning
  uint32_t count_;
};

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_CARVE_ORDER_H_
