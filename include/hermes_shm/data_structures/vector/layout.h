#ifndef HSHM_DATA_STRUCTURES_VECTOR_LAYOUT_H_
#define HSHM_DATA_STRUCTURES_VECTOR_LAYOUT_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/data_structures/shared_object.h"
#include "hermes_shm/sync/mutex.h"

/**
 * What a vector looks like in the region.
 *
 *     | VectorHeader 128 B |            its own block
 *          |
 *          +-> elements, as many as fit; nothing else lies in the block
 *
 * While elements move to make a gap or to close one, the header says how far they are:
 *
 *     |  in place  |   gap, count_   |  moved up by count_  |
 *     0         cursor_       cursor_ + count_       size_ + count_        (size_ of the smaller)
 */
namespace hshm::ipc::vector_layout {

enum class GapState : uint64_t {
  kNone = 0,
  kOpening,  // an insertion moves elements up, the last first; undone after a death
  kClosing,  // an erasure moves elements down, the first first; finished after a death
};

/** See the picture; means something only while state_ is not kNone. */
struct Gap {
  Atomic<uint64_t> cursor_;  // [lock:vector] elements in front of it are in place
  Atomic<uint64_t> count_;   // [lock:vector] elements that fit into the gap
  Atomic<uint64_t> size_;    // [lock:vector] elements beside those
};

/** "lock" is the vector's or whatever else makes one rank at a time the writer. */
struct VectorHeader {
  ObjectTag tag_;
  Mutex lock_;                      // [any]
  Atomic<uint32_t> active_;         // [lock:vector] which of blocks_ holds the elements
  Atomic<uint64_t> size_;           // [lock:vector] stored when the elements are there
  Atomic<uint64_t> gap_state_;      // [lock:vector] GapState; stored when gap_ is complete
  Atomic<uint64_t> blocks_[2];      // [lock:vector] offsets; the other is 0, or on its way
  Atomic<uint64_t> capacities_[2];  // [lock:vector] in elements
  Gap gap_;                         // [lock:vector]
  uint64_t reserved_[3];
};
static_assert(std::is_standard_layout_v<VectorHeader>);
static_assert(sizeof(VectorHeader) == 2 * kCacheLineBytes);  // frozen by kVectorLayoutVersion

inline constexpr uint64_t kVectorMagic = 0x316365766d687368;  // "hshmvec1" in memory order
inline constexpr uint32_t kVectorLayoutVersion = 1;

}  // namespace hshm::ipc::vector_layout

#endif  // HSHM_DATA_STRUCTURES_VECTOR_LAYOUT_H_
