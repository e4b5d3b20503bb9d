#ifndef HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_CORE_H_
#define HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_CORE_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hermes_shm/memory/allocator/buddy/buddy_state.h"
#include "hermes_shm/sync/kernel_lock.h"

namespace hshm::ipc {

/** How kernels come by the lock of a BuddyAllocator. */
struct BuddyKernelLock {
  /** False, and the body has not run, when the lock could not be had; see LockedInTurn. */
  template <typename Body>
  HSHM_CROSS_FUN bool Run(BuddyHeader& buddy, const Body& body) const noexcept {
    return LockedInTurn(buddy.lock_, body);
  }
  /** A free cannot say "no room": a lock that is held for seconds is nobody's who works. */
  HSHM_CROSS_FUN void CannotFree(Offset block) const noexcept {
    defect::Corruption("the lock of a BuddyAllocator, taken for a block,", block);
  }
};

/**
 * The operations of BuddyAllocator, each with the lock taken as LockT does. Null is 0, also when
 * the lock could not be had.
 */
template <typename LockT>
class BuddyCore {
 public:
  BuddyCore() = default;
  HSHM_CROSS_FUN BuddyCore(const Region& region, BuddyHeader* buddy, LockT lock = LockT()) noexcept
      : state_(region, buddy), lock_(lock) {}

  HSHM_CROSS_FUN const Region& region() const noexcept { return state_.region(); }

  HSHM_CROSS_FUN Offset AlignedAllocate(uint64_t size, uint64_t alignment) const noexcept {
    BuddyHeader& buddy = Buddy("AllocateOffset");
    if (HSHM_UNLIKELY(!bits::IsPowerOfTwo(alignment))) {
      defect::BadAlignment("AlignedAllocateOffset", alignment);
    }
    const uint64_t granules = state_.GranulesFor(size);
    const uint64_t granule_bytes = buddy.granule_bytes_;
    const uint64_t boundary = bits::Max<uint64_t>(alignment / granule_bytes, 1);
    if (granules > buddy.end_ || boundary > buddy.end_) return kNullOffset;
    Offset result = kNullOffset;
    lock_.Run(buddy, [&] {
      const uint32_t granule =
          state_.TakeOrGrow(static_cast<uint32_t>(granules), static_cast<uint32_t>(boundary));
      if (granule == BuddyEngine::kNone) return;
      // relaxed: the lock's
      state_.NodeOf(granule)->mark_.store(kBuddyUserMark | static_cast<uint32_t>(granules),
                                          std::memory_order_relaxed);
      result = granule * granule_bytes;
    });
    return result;
  }

  HSHM_CROSS_FUN void Free(Offset offset) const noexcept {
    const bool is_done = lock_.Run(Buddy("FreeOffset"), [&] {
      const uint32_t granule = state_.BlockAt("FreeOffset", offset);
      const uint32_t granules = state_.LiveGranules(granule);
      state_.NodeOf(granule)->mark_.store(0, std::memory_order_relaxed);  // relaxed: the lock's
      state_.Engine().Free(granule, granules);
    });
    if (!is_done) lock_.CannotFree(offset);
  }

  /** As ReallocateOffset: the old block stays when there is no room. */
  HSHM_CROSS_FUN Offset Reallocate(Offset offset, uint64_t size) const noexcept {
    BuddyHeader& buddy = Buddy("ReallocateOffset");
    const uint64_t granules = state_.GranulesFor(size);
    uint64_t old_bytes = 0;
    bool is_in_place = false;
    const bool is_done = lock_.Run(buddy, [&] {
      const uint32_t granule = state_.BlockAt("ReallocateOffset", offset);
      const uint32_t old_granules = state_.LiveGranules(granule);
      old_bytes = uint64_t{old_granules} * buddy.granule_bytes_;
      is_in_place = granules <= buddy.end_ &&
                    state_.ResizeInPlace(granule, old_granules, static_cast<uint32_t>(granules));
    });
    if (!is_done) return kNullOffset;
    if (is_in_place) return offset;
    const Offset moved = AlignedAllocate(size, kDefaultAlignment);
    if (moved == kNullOffset) return kNullOffset;
    memcpy(region().base_ + moved, region().base_ + offset, old_bytes);
    Free(offset);
    return moved;
  }

  /** False also when the lock cannot be had. */
  HSHM_CROSS_FUN bool ResizeInPlace(Offset offset, uint64_t size) const noexcept {
    BuddyHeader& buddy = Buddy("ResizeInPlace");
    const uint64_t granules = state_.GranulesFor(size);
    bool is_in_place = false;
    lock_.Run(buddy, [&] {
      const uint32_t granule = state_.BlockAt("ResizeInPlace", offset);
      is_in_place =
          granules <= buddy.end_ && state_.ResizeInPlace(granule, state_.LiveGranules(granule),
                                                         static_cast<uint32_t>(granules));
    });
    return is_in_place;
  }
  /** Of a block: its size in whole granules; 0 when the lock cannot be had. */
  HSHM_CROSS_FUN uint64_t UsableBytes(Offset offset) const noexcept {
    BuddyHeader& buddy = Buddy("GetUsableSize");
    uint64_t granules = 0;
    lock_.Run(buddy,
              [&] { granules = state_.LiveGranules(state_.BlockAt("GetUsableSize", offset)); });
    return granules * buddy.granule_bytes_;
  }

  /** Bytes of all blocks, in whole granules. */
  HSHM_CROSS_FUN uint64_t AllocatedBytes() const noexcept {
    BuddyHeader& buddy = Buddy("GetCurrentlyAllocatedSize");
    uint64_t granules = 0;
    lock_.Run(buddy,
              [&] { granules = buddy.frontier_ - buddy.first_ - buddy.lists_.free_granules_; });
    return granules * buddy.granule_bytes_;
  }

 private:
  HSHM_CROSS_FUN BuddyHeader& Buddy(const char* operation) const noexcept {
    if (HSHM_UNLIKELY(state_.header() == nullptr)) defect::NotAttached(operation);
    return *state_.header();
  }

  BuddyState state_;
  LockT lock_;
};
static_assert(std::is_trivially_copyable_v<BuddyCore<BuddyKernelLock>>);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_CORE_H_
