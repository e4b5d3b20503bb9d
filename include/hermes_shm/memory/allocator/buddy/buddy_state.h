#ifndef HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_STATE_H_
#define HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_STATE_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/check.h"
#include "hermes_shm/base/defects.h"
#include "hermes_shm/base/types.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/buddy/buddy_engine.h"
#include "hermes_shm/memory/backend/region.h"
#include "hermes_shm/sync/mutex.h"

namespace hshm::ipc {

/**
 * State of a BuddyAllocator. Lies behind the common allocator header:
 *
 *     | BuddyHeader | BuddyNode, one a granule | first_ ... granules in use and free ... | end_
 *                                                             frontier_ : never used yet ^
 *
 * Granule g is the bytes [g, g + 1) * granule_bytes_ of the region, so that a block aligned in
 * granules has an offset aligned in bytes.
 */
struct alignas(kCacheLineBytes) BuddyHeader {
  Mutex lock_;              // [any]  order: a leaf, nothing is locked inside
  uint32_t granule_bytes_;  // [init] power of two
  uint32_t first_;          // [init] first granule
  uint32_t end_;            // [init] granule behind the last
  uint64_t nodes_offset_;   // [init] node of granule first_
  uint32_t frontier_;       // [lock] granules from here on are not committed, nor are their nodes
  uint32_t reserved_;
  BuddyLists lists_;  // [lock] caches; the truth is a user mark per block, in its first node
};
static_assert(std::is_standard_layout_v<BuddyHeader>);
static_assert(sizeof(BuddyHeader) == 192);  // frozen by kAllocatorLayoutVersion

/**
 * What a BuddyAllocator, whose page states the protocol, does under its lock: a value of a region
 * and the header in it, the same code on the host and in kernels.
 */
class BuddyState {
 public:
  BuddyState() = default;
  HSHM_CROSS_FUN BuddyState(const Region& region, BuddyHeader* buddy) noexcept
      : region_(region), buddy_(buddy) {}

  HSHM_CROSS_FUN const Region& region() const noexcept { return region_; }
  HSHM_CROSS_FUN BuddyHeader* header() const noexcept { return buddy_; }

  HSHM_CROSS_FUN uint64_t GranulesFor(uint64_t size) const noexcept {
    return size == 0 ? 1 : bits::DivideUp(size, buddy_->granule_bytes_);
  }
  HSHM_CROSS_FUN BuddyNode* NodeOf(uint32_t granule) const noexcept {
    return region_.At<BuddyNode>(buddy_->nodes_offset_) + (granule - buddy_->first_);
  }
  HSHM_CROSS_FUN BuddyEngine Engine() const noexcept;
  HSHM_CROSS_FUN uint32_t LiveGranules(uint32_t granule) const noexcept;
  HSHM_CROSS_FUN uint32_t BlockAt(const char* operation, Offset offset) const noexcept;

  HSHM_CROSS_FUN uint32_t TakeOrGrow(uint32_t granules, uint32_t alignment) const noexcept;
  HSHM_CROSS_FUN bool ResizeInPlace(uint32_t granule, uint32_t old_granules,
                                    uint32_t new_granules) const noexcept;

 private:
  static constexpr uint16_t kTag = 0;  // one set of lists
  // At first little, so that a small use of a large region stays small; then few system calls.
  static constexpr uint64_t kMinCommitStep = 64_KiB;
  static constexpr uint64_t kMaxCommitStep = 4_MiB;

  HSHM_CROSS_FUN bool GrowTo(uint64_t needed_frontier) const noexcept;
  HSHM_CROSS_FUN bool CommitTo(uint32_t new_frontier) const noexcept;

  Region region_;
  BuddyHeader* buddy_ = nullptr;
};
static_assert(std::is_trivially_copyable_v<BuddyState>);

HSHM_CROSS_FUN inline BuddyEngine BuddyState::Engine() const noexcept {
  if (HSHM_UNLIKELY(buddy_->frontier_ < buddy_->first_ || buddy_->frontier_ > buddy_->end_)) {
    defect::Corruption("where a BuddyAllocator's granules end", buddy_->frontier_);
  }
  const uintptr_t nodes = reinterpret_cast<uintptr_t>(region_.base_) + buddy_->nodes_offset_;
  return BuddyEngine(nodes - uintptr_t{buddy_->first_} * sizeof(BuddyNode), &buddy_->lists_,
                     buddy_->first_, buddy_->frontier_ - buddy_->first_, kTag, kBuddyMaxOrder);
}

/** Granules of the block that begins here, 0 when none does. */
HSHM_CROSS_FUN inline uint32_t BuddyState::LiveGranules(uint32_t granule) const noexcept {
  // relaxed: the lock orders it
  const uint32_t mark = NodeOf(granule)->mark_.load(std::memory_order_relaxed);
  return (mark & kBuddyUserMark) != 0 ? mark & ~kBuddyUserMark : 0;
}

/** The granule of a living block; stops with the defect's name when offset is none. */
HSHM_CROSS_FUN inline uint32_t BuddyState::BlockAt(const char* operation,
                                                   Offset offset) const noexcept {
  const uint64_t granule_bytes = buddy_->granule_bytes_;
  const uint64_t number = offset / granule_bytes;
  if (number < buddy_->first_ || number >= buddy_->end_) {
    defect::ForeignPointer(operation, offset, region_.size_bytes_);
  }
  const uint32_t granule = static_cast<uint32_t>(number);
  if (granule >= buddy_->frontier_) defect::InvalidFree(operation, offset);
  if (offset % granule_bytes == 0 && LiveGranules(granule) != 0) return granule;
  if (Engine().IsFree(granule)) defect::DoubleFree(operation, offset);
  defect::InvalidFree(operation, offset);
}

HSHM_CROSS_FUN inline bool BuddyState::CommitTo(uint32_t new_frontier) const noexcept {
  const uint32_t old = buddy_->frontier_;
  const uint64_t granule = buddy_->granule_bytes_;
  const uint64_t count = new_frontier - old;
  const Offset nodes = buddy_->nodes_offset_ + uint64_t{old - buddy_->first_} * sizeof(BuddyNode);
  if (!region_.Commit(nodes, count * sizeof(BuddyNode))) return false;
  if (!region_.Commit(old * granule, count * granule)) return false;
  buddy_->frontier_ = new_frontier;
  Engine().Free(old, static_cast<uint32_t>(count));
  return true;
}

/** Makes granules up to needed_frontier usable, and some more when the system has them. */
HSHM_CROSS_FUN inline bool BuddyState::GrowTo(uint64_t needed_frontier) const noexcept {
  const uint32_t old = buddy_->frontier_;
  if (needed_frontier <= old) return true;
  if (needed_frontier > buddy_->end_) return false;
  const uint64_t used_bytes = uint64_t{old - buddy_->first_} * buddy_->granule_bytes_;
  const uint64_t step = bits::Clamp(used_bytes, kMinCommitStep, kMaxCommitStep);
  const uint64_t wanted =
      bits::Clamp<uint64_t>(old + step / buddy_->granule_bytes_, needed_frontier, buddy_->end_);
  return CommitTo(static_cast<uint32_t>(wanted)) ||
         CommitTo(static_cast<uint32_t>(needed_frontier));
}

/** A run of free granules, from the free ones or from behind the frontier. */
HSHM_CROSS_FUN inline uint32_t BuddyState::TakeOrGrow(uint32_t granules,
                                                      uint32_t alignment) const noexcept {
  const uint32_t got = Engine().Allocate(granules, alignment);
  if (got != BuddyEngine::kNone || buddy_->frontier_ == buddy_->end_) return got;
  uint32_t start = buddy_->frontier_;  // where the free granules before the frontier begin
  uint32_t order = 0;
  for (;;) {
    const uint32_t block = Engine().FreeBlockAt(start - 1, &order);
    if (block == BuddyEngine::kNone) break;
    start = block;
  }
  const uint64_t aligned = bits::AlignUp(start, alignment);
  if (!GrowTo(aligned + granules)) return BuddyEngine::kNone;
  const bool taken = Engine().TakeRange(static_cast<uint32_t>(aligned), granules);
  if (HSHM_UNLIKELY(!taken)) {
    defect::Corruption("a BuddyAllocator's list of free granules", aligned);
  }
  return static_cast<uint32_t>(aligned);
}

HSHM_CROSS_FUN inline bool BuddyState::ResizeInPlace(uint32_t granule, uint32_t old_granules,
                                                     uint32_t new_granules) const noexcept {
  Atomic<uint32_t>& mark = NodeOf(granule)->mark_;
  const uint32_t old_end = granule + old_granules;
  if (new_granules > old_granules) {
    const uint32_t more = new_granules - old_granules;
    if (!GrowTo(uint64_t{old_end} + more) || !Engine().TakeRange(old_end, more)) return false;
  }
  mark.store(kBuddyUserMark | new_granules, std::memory_order_relaxed);  // relaxed: the lock's
  if (new_granules < old_granules) {
    Engine().Free(granule + new_granules, old_granules - new_granules);
  }
  return true;
}

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_STATE_H_
