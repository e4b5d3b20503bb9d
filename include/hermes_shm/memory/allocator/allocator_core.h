#ifndef HSHM_MEMORY_ALLOCATOR_ALLOCATOR_CORE_H_
#define HSHM_MEMORY_ALLOCATOR_ALLOCATOR_CORE_H_

#include <bit>
#include <cstddef>
#include <memory>
#include <string_view>

#include "hermes_shm/intrusive/offset_ptr.h"
#include "hermes_shm/memory/allocator/allocator_header.h"
#include "hermes_shm/memory/allocator/allocator_stats.h"
#include "hermes_shm/memory/allocator/arena.h"
#include "hermes_shm/memory/allocator/attached_allocators.h"
#include "hermes_shm/memory/backend/membership.h"
#include "hermes_shm/memory/backend/region.h"

namespace hshm::ipc {

/** For messages: "a StackAllocator", "no allocator". */
HSHM_API const char* AllocatorTypeName(AllocatorType type) noexcept;

/** Whether the header of a region's allocator is of this type and its geometry, computed again, is
 * right. @throws Error kWrongAllocator, kVersionMismatch, kCorrupt */
HSHM_API void CheckAllocatorHeader(const AllocatorHeader& header, AllocatorType type,
                                   const Region& region);

/** The custom header's alignment, in bytes. */
inline constexpr uint64_t kCustomHeaderAlignment = 64;

/**
 * What all allocators have in common and need no template for: the region, this process's
 * membership in it, the common header, the custom header and the roots. Base of BaseAllocator.
 *
 * Set-up of the common header:
 * Invariant  type_ is kNone until everything before it is written; the release store of type_
 *            publishes the allocator.
 * Ordering   FinishInit releases type_, BeginAttach acquires it.
 * ABA        None: type_ changes once. AbandonInit runs before publication.
 * Crash      Before type_: the region holds no allocator and may be initialised again.
 */
class HSHM_API AllocatorCore {
 public:
  AllocatorCore() = default;
  AllocatorCore(const AllocatorCore&) = delete;
  AllocatorCore& operator=(const AllocatorCore&) = delete;

  AllocatorId GetId() const noexcept { return id_; }
  const Region& GetRegion() const noexcept { return region_; }
  Membership& GetMembership() noexcept { return membership_; }
  bool IsAttached() const noexcept { return header_ != nullptr; }

  /**
   * The application's part of the shared header, zeroed when the allocator was made.
   * @throws Error kOutOfRange when T needs more than was reserved
   */
  template <typename T>
  T* GetCustomHeader() {
    return static_cast<T*>(CustomHeader(sizeof(T)));
  }

  bool Contains(const void* ptr) const noexcept { return region_.Contains(ptr); }
  template <typename T>
  bool Contains(OffsetPtr<T> offset) const noexcept {
    return !offset.IsNull() && region_.Contains(Offset{offset.load()});
  }

  /** Offset of an address of this process inside the region; null for null. */
  template <typename T>
  OffsetPtr<T> ToOffset(const T* ptr) const noexcept {
    return ptr == nullptr ? OffsetPtr<T>() : OffsetPtr<T>(region_.OffsetOf(ptr));
  }
  /** Address in this process; null for null. */
  template <typename T>
  T* Convert(OffsetPtr<T> offset) const noexcept {
    return offset.IsNull() ? nullptr : reinterpret_cast<T*>(region_.AddressOf(offset.load()));
  }
  /** What AllocateOffset returned, as a T. */
  template <typename T, bool kAtomic>
  requires(!std::is_void_v<T>) T* Convert(
      const OffsetPtrBase<void, kAtomic>& offset) const noexcept {
    return Convert(OffsetPtr<T>(offset.load()));
  }
  /** Stops with ForeignPointer when the pointer names another allocator. */
  template <typename T>
  T* Convert(const ShmPtr<T>& ptr) const noexcept {
    RequireOurs("Convert", ptr.alloc_id_);
    return Convert(OffsetPtr<T>(ptr.off_.load()));
  }

  /** Null when nothing was left under the name. */
  OffsetPtr<> FindRootOffset(std::string_view name) noexcept;

 protected:
  ~AllocatorCore() = default;

  /** Of a typed pointer: that it does not name another allocator. One whose id is null names none,
   * and is taken for one of this. */
  HSHM_INLINE void RequireOurs(const char* operation, const AllocatorId& named) const noexcept {
    // One comparison of 8 bytes, as this stands in the path of each free. By reference: a copy of
    // two halves would be made in memory.
    const auto id = std::bit_cast<uint64_t>(named);
    if (HSHM_UNLIKELY(id != std::bit_cast<uint64_t>(id_))) {
      CheckForeign(operation, std::bit_cast<AllocatorId>(id));
    }
  }

  /** Lays out the common header. @return where the allocator's own header begins (64-aligned) */
  Offset BeginInit(AllocatorId id, size_t custom_header_size, const Region& region);
  void FinishInit(AllocatorType type) noexcept;
  void AbandonInit() noexcept;
  Offset BeginAttach(AllocatorType type, const Region& region);
  void FinishAttach() noexcept { attached_.Show(); }
  /** Containers find the handle no more, from before its allocator leaves. */
  void BeginDetach() noexcept { attached_.Forget(); }
  void EndAttachment() noexcept;

  /** Statistics with what all allocators have in common; ranks_ has an entry for each slot. */
  AllocatorStats BeginStats(AllocatorType type);

  /**
   * Leaves an offset under a name (1 to 55 bytes) for every rank to find; a null offset takes the
   * name away; a name that is there already gets the new offset. False when the name is bad, all 63
   * entries are taken, or another process has been stopped in here for 10 s.
   *
   * A name goes with its block when that is deleted because its process detached or died; it stays
   * when somebody frees the block: take it away before (SetRoot with a null offset).
   *
   * Invariant  An entry with offset_ != 0 has its whole name, which changes while it is 0.
   *            Entries change under the lock. But a deleter, without it, steps from the deleted
   *            block's offset to 0: the entry is free then, or gets what the lock's holder sets.
   * Ordering   The version is raised before a change, offset_ is released last. Readers hold no
   *            lock: they acquire the offset, then the name, and look for another version.
   * ABA        While the version stays, at most one change is under way: offset and name belong
   *            together. A deleter raises none, and that change may take the entry it has freed:
   *            a reader looks at the offset again, behind the name.
   * Crash      Between name and offset: the entry is free.
   */
  bool SetRootOffset(std::string_view name, OffsetPtr<> offset) noexcept;

  Region region_;
  AllocatorId id_;
  AllocatorHeader* header_ = nullptr;
  Membership membership_;
  std::unique_ptr<ArenaTable> arenas_;  // while attached

 private:
  AttachedAllocator attached_;  // shown from FinishInit or FinishAttach to BeginDetach

  void* CustomHeader(size_t size_bytes);
  HSHM_NOINLINE void CheckForeign(const char* operation, AllocatorId named) const noexcept;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_ALLOCATOR_CORE_H_
