#ifndef HSHM_MEMORY_ALLOCATOR_STACK_LAYOUT_H_
#define HSHM_MEMORY_ALLOCATOR_STACK_LAYOUT_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/base/types.h"
#include "hermes_shm/sync/atomic.h"

/** What a StackAllocator looks like in its region. */
namespace hshm::ipc {

/** Alignment of every block, and the size of its header, in bytes. */
inline constexpr uint64_t kStackUnit = 16;

/**
 * Where the stack stands. Lies behind the common allocator header:
 *
 *     bottom_                                        top        committed_            end_
 *       | block | block | padding | aligned block     | free      | not committed       |
 */
struct alignas(kCacheLineBytes) StackHeader {
  Atomic<uint64_t> word_;       // [any]  StackWord
  Atomic<uint64_t> committed_;  // [any]  bytes below may be touched; only grows
  uint64_t bottom_;             // [init] offset of the first block's header
  uint64_t end_;                // [init] first offset behind the stack
};
static_assert(std::is_standard_layout_v<StackHeader>);
static_assert(sizeof(StackHeader) == 64);  // frozen by kAllocatorLayoutVersion

/** StackHeader::word_, taken apart: {live blocks:27, top in units of 16 bytes:37}. */
struct StackWord {
  static constexpr uint32_t kTopBits = 37;
  static constexpr uint64_t kMaxLive = (uint64_t{1} << (64 - kTopBits)) - 1;

  uint64_t top_;   // offset
  uint64_t live_;  // blocks

  HSHM_CROSS_FUN static StackWord From(uint64_t word) {
    return {(word & ((uint64_t{1} << kTopBits) - 1)) * kStackUnit, word >> kTopBits};
  }
  HSHM_CROSS_FUN uint64_t Pack() const { return (live_ << kTopBits) | (top_ / kStackUnit); }

  HSHM_CROSS_FUN static bool Replace(Atomic<uint64_t>* word, uint64_t* seen, StackWord next) {
    return word->compare_exchange_weak(*seen, next.Pack(),
                                       std::memory_order_acq_rel,   // pairs with itself
                                       std::memory_order_relaxed);  // relaxed: tried again
  }
};

/** In front of every block. The two tags are made from the header's own offset. */
struct StackBlock {
  static constexpr uint32_t kSizeBits = 40;
  static constexpr uint64_t kSizeMask = (uint64_t{1} << kSizeBits) - 1;

  uint64_t size_;           // [owner] {tag:24, size in units of 16 bytes:40}
  Atomic<uint64_t> state_;  // [any]   {live or freed tag:24, units of padding before this:40}

  /** 24 bits that only a header at this very offset has. */
  HSHM_CROSS_FUN static constexpr uint64_t SizeTag(Offset header) {
    return header * 0x9e3779b97f4a7c15 >> kSizeBits << kSizeBits;
  }
  HSHM_CROSS_FUN static constexpr uint64_t StateTag(Offset header, uint64_t state) {
    return ((header * 0xc2b2ae3d27d4eb4f >> kSizeBits & ~uint64_t{3}) | state) << kSizeBits;
  }
  HSHM_CROSS_FUN static constexpr uint64_t LiveTag(Offset header) { return StateTag(header, 1); }
  HSHM_CROSS_FUN static constexpr uint64_t FreedTag(Offset header) { return StateTag(header, 2); }

  HSHM_CROSS_FUN bool IsHeader(Offset header) const {
    const uint64_t tag = state_.load(std::memory_order_relaxed) & ~kSizeMask;  // relaxed: own
    return (size_ & ~kSizeMask) == SizeTag(header) &&
           (tag == LiveTag(header) || tag == FreedTag(header));
  }
  HSHM_CROSS_FUN uint64_t bytes() const { return (size_ & kSizeMask) * kStackUnit; }
  HSHM_CROSS_FUN void SetBytes(Offset header, uint64_t bytes) {
    size_ = SizeTag(header) | (bytes / kStackUnit);
  }
};
static_assert(std::is_standard_layout_v<StackBlock>);
static_assert(sizeof(StackBlock) == kStackUnit);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_STACK_LAYOUT_H_
