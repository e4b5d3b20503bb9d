#ifndef HSHM_MEMORY_ALLOCATOR_ATTACHED_ALLOCATORS_H_
#define HSHM_MEMORY_ALLOCATOR_ATTACHED_ALLOCATORS_H_

#include "hermes_shm/base/macros.h"

namespace hshm::ipc {

class AllocatorCore;

/**
 * Which allocator handle of this process serves a region, by the region's base address. Private
 * memory of the process, the one thing a shared object cannot carry along: an hshm::allocator that
 * lies in a region knows where the region begins, and asks here for the handle.
 *
 * Every handle shows itself once it is made or attached, and hides before it begins to leave, so a
 * process makes itself known by MakeAlloc or AttachAlloc. Of several handles on one mapping, any
 * one that is attached serves; so none of them leaves while a container of the mapping is changed.
 *
 * Invariant  An entry whose base_ is not null belongs to one attached handle. Entries are never
 *            freed; one that is not taken_ is used again for a base of the same bucket.
 * Ordering   base_ is released last and acquired first. Changes hold a mutex, look-ups none.
 * ABA        An entry changes hands between a look-up's two loads only when a handle of the
 *            caller's mapping has left meanwhile, which is a broken rule.
 * Crash      Private memory: goes with its process.
 */
class HSHM_API AttachedAllocator {
 public:
  AttachedAllocator() = default;
  /** Takes an entry for it, which nobody finds yet. @throws std::bad_alloc */
  AttachedAllocator(const void* region_base, AllocatorCore* allocator);
  ~AttachedAllocator() { Forget(); }
  AttachedAllocator(AttachedAllocator&& other) noexcept;
  AttachedAllocator& operator=(AttachedAllocator&& other) noexcept;

  /** From now on Find may answer with it. */
  void Show() noexcept;
  /** From now on Find does not. Repeatable. */
  void Forget() noexcept;

  /** A handle of this process on the region that is mapped at this address; null when none is. */
  static AllocatorCore* Find(const void* region_base) noexcept;

 private:
  struct Entry;
  Entry* entry_ = nullptr;
  const void* region_base_ = nullptr;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_ATTACHED_ALLOCATORS_H_
