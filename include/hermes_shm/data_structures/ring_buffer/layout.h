#ifndef HSHM_DATA_STRUCTURES_RING_BUFFER_LAYOUT_H_
#define HSHM_DATA_STRUCTURES_RING_BUFFER_LAYOUT_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/data_structures/shared_object.h"
#include "hermes_shm/sync/lock_identity.h"

/**
 * What a ring buffer looks like in the region.
 *
 *     | RingHeader: 4 lines of 64 B | cells[capacity]
 *
 * Index i of the stream lies in cell i mod capacity. Indices count from 0 and never come back, head
 * <= i < tail is what is in the ring; a lap is a walk over all cells.
 */
namespace hshm::ipc {

/** What became of an operation on a ring buffer. */
enum class RingResult : uint32_t {
  kDone,
  kFull,     // no room now
  kEmpty,    // nothing to pop now
  kClosed,   // pushes: never again; pops: everything has been popped
  kTimeout,  // still full or empty when the time was over
};

struct RingHeader {
  ObjectTag tag_;
  uint32_t capacity_log2_;   // [init]
  Atomic<uint32_t> closed_;  // [any] 1: nothing more may be pushed
  uint64_t reserved_[4];

  alignas(
      kCacheLineBytes) Atomic<uint64_t> tail_;  // [producer]; [any] by CAS where many push, may lag
  uint64_t seen_head_;                          // [producer] head_ is at least that; SPSC

  alignas(
      kCacheLineBytes) Atomic<uint64_t> head_;  // [consumer]; [any] by CAS where many pop, may lag
  uint64_t seen_tail_;                          // [consumer] tail_ is at least that; SPSC

  alignas(kCacheLineBytes) Atomic<uint32_t> data_wanted_;  // [any] 1: somebody sleeps in pop
  Atomic<uint32_t> room_wanted_;                           // [any] 1: somebody sleeps in push

  HSHM_CROSS_FUN uint64_t capacity() const noexcept { return uint64_t{1} << capacity_log2_; }
};
static_assert(std::is_standard_layout_v<RingHeader>);
static_assert(sizeof(RingHeader) == 4 * kCacheLineBytes);  // frozen by kRingLayoutVersion

inline constexpr uint64_t kSpscMagic = 0x31637370736d6873;  // "shmspsc1" in memory order
inline constexpr uint64_t kMpscMagic = 0x316373706d6d6873;  // "shmmpsc1" in memory order
inline constexpr uint64_t kMpmcMagic = 0x31636d706d6d6873;  // "shmmpmc1" in memory order
inline constexpr uint32_t kRingLayoutVersion = 2;
inline constexpr uint32_t kMaxRingLog2 = 32;

/** State of a cell where many push, or many pop; one word, so that one CAS or store changes it. */
enum class CellState : uint64_t {
  kFree,     // waits for the push of its lap
  kClaimed,  // the producer named in the word writes the element
  kFull,     // the element is there
  kSealed,   // the ring was closed and emptied: nothing is pushed here or behind
  kTaken,    // the consumer named in the word reads the element; with many consumers only
};

/** {lap: 30, state: 3, generation: 18, slot + 1: 13}; zeroed memory is free for lap 0. */
struct CellWord {
  static constexpr uint32_t kHolderBits = LockIdentity::kGenerationBits + LockIdentity::kSlotBits;
  static constexpr uint32_t kLapShift = kHolderBits + 3;
  /** Holder of cells that a kernel claims: a slot that no process can have. It is never dead. */
  static constexpr uint64_t kKernel = (uint64_t{1} << LockIdentity::kSlotBits) - 1;
  static constexpr uint64_t kLapMask = (uint64_t{1} << (64 - kLapShift)) - 1;

  HSHM_CROSS_FUN static constexpr uint64_t Make(uint64_t lap, CellState state,
                                                uint64_t holder = 0) {
    return ((lap & kLapMask) << kLapShift) | (static_cast<uint64_t>(state) << kHolderBits) | holder;
  }
  HSHM_CROSS_FUN static constexpr uint64_t Holder(const LockIdentity& me) {
    const uint64_t generation =
        me.generation_ & ((uint64_t{1} << LockIdentity::kGenerationBits) - 1);
    return (generation << LockIdentity::kSlotBits) | (me.slot_ + 1);
  }

  HSHM_CROSS_FUN static constexpr bool IsKernel(uint64_t word) {
    return (word & ((uint64_t{1} << kHolderBits) - 1)) == kKernel;
  }

  HSHM_CROSS_FUN static constexpr uint64_t Lap(uint64_t word) { return word >> kLapShift; }
  HSHM_CROSS_FUN static constexpr CellState State(uint64_t word) {
    return static_cast<CellState>((word >> kHolderBits) & 7);
  }
  HSHM_CROSS_FUN static constexpr uint32_t Slot(uint64_t word) {
    return static_cast<uint32_t>(word & ((uint64_t{1} << LockIdentity::kSlotBits) - 1)) - 1;
  }
  HSHM_CROSS_FUN static constexpr uint32_t Generation(uint64_t word) {
    return static_cast<uint32_t>(word >> LockIdentity::kSlotBits) &
           ((uint32_t{1} << LockIdentity::kGenerationBits) - 1);
  }
};

template <typename T>
struct SpscCell {
  T element_;  // [producer] until tail_ is behind it, then [consumer]
};

template <typename T>
struct MpscCell {
  Atomic<uint64_t> word_;  // [any]
  T element_;              // whoever word_ names
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_RING_BUFFER_LAYOUT_H_
