#ifndef HSHM_DATA_STRUCTURES_SHARED_OBJECT_H_
#define HSHM_DATA_STRUCTURES_SHARED_OBJECT_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/base/defects.h"
#include "hermes_shm/intrusive/offset_ptr.h"
#include "hermes_shm/memory/backend/region.h"
#include "hermes_shm/sync/atomic.h"

/**
 * What all data structures share: how the object in the region is created, recognised and joined.
 *
 *     process A: handle --- alloc->region --- + offset --> shared object <-- + offset --- handle :B
 *
 * A handle lies in private memory, knows the allocator and owns nothing: its destructor leaves the
 * shared object alone, as shm_detach does. offset() is what one rank tells the others, e.g. by
 * alloc->SetRoot.
 */
namespace hshm::ipc {

/** First words of a shared object. Whoever attaches must expect exactly these. */
struct ObjectTag {
  Atomic<uint64_t> magic_;   // [any]  which structure; stored last at creation, 0 once destroyed
  uint32_t layout_version_;  // [init] of that structure
  uint32_t element_bytes_;   // [init] size of the element, or of the key
  uint32_t value_bytes_;     // [init] size of the mapped value; 0 where there is none
  uint32_t reserved_;
};
static_assert(std::is_standard_layout_v<ObjectTag>);
static_assert(sizeof(ObjectTag) == 24);

/** What a structure writes into its tag, and what messages call it. */
struct ObjectKind {
  const char* name_;
  uint64_t magic_;
  uint32_t layout_version_;
  uint32_t element_bytes_;
  uint32_t value_bytes_;
};

/** Publishes a complete object. */
HSHM_API void PublishObject(ObjectTag& tag, const ObjectKind& kind) noexcept;

/** From now on nobody can attach. False when it was retired before. */
HSHM_API bool RetireObject(ObjectTag& tag, const ObjectKind& kind) noexcept;

/**
 * The tag at an offset, once it is sure that such an object begins there.
 * @throws Error kNotFound (null offset), kOutOfRange (not inside the region, or misaligned),
 * kCorrupt (something else lies there), kVersionMismatch, kSizeMismatch (other element types)
 */
HSHM_API ObjectTag* FindObject(const Region& region, Offset offset, uint64_t object_bytes,
                               const ObjectKind& kind);

/** @throws Error kNoSpace, always */
[[noreturn]] HSHM_API void ThrowNoSpace(const char* name, uint64_t asked_bytes,
                                        uint64_t region_bytes, uint64_t allocated_bytes);

/** @throws Error kOutOfRange, always: "<name>: <sentence>" */
[[noreturn]] HSHM_API void ThrowOutOfRange(const char* name, const char* sentence);

/** @throws Error kUnsupported, always: "<name>: <sentence>" */
[[noreturn]] HSHM_API void ThrowUnsupported(const char* name, const char* sentence);

/** Before shm_init and shm_attach, which would lose the way to what the handle stands for.
 * @throws Error kBackendInUse when that is not null */
HSHM_API void RequireEmptyHandle(const void* object, const ObjectKind& kind);

/**
 * What a handle stands for; nothing at first. Who follows an empty one is stopped by
 * defect::EmptyHandle: one branch that is never taken, on a word that is in a register anyway.
 */
template <typename T, const ObjectKind* kKind>
class ObjectLink {
 public:
  ObjectLink& operator=(T* object) noexcept {
    object_ = object;
    return *this;
  }
  HSHM_INLINE T* operator->() const noexcept { return &**this; }
  HSHM_INLINE T& operator*() const noexcept {
    if (HSHM_UNLIKELY(object_ == nullptr)) defect::EmptyHandle(kKind->name_);
    return *object_;
  }
  /** Null for an empty handle. */
  T* get() const noexcept { return object_; }

 private:
  T* object_ = nullptr;
};

/** False for an allocator that says so: its offsets lead anywhere, as those of malloc's blocks do.
 */
template <typename AllocT>
inline constexpr bool kBlocksLieInRegion = true;
template <typename AllocT>
requires(!AllocT::kBlocksLieInRegion) inline constexpr bool kBlocksLieInRegion<AllocT> = false;

/** The region, as far as offsets of the allocator's blocks may lead. */
template <typename AllocT>
Region ReachOf(const AllocT& alloc, OffsetPtr<> offset) noexcept {
  Region reach = alloc.GetRegion();
  if constexpr (!kBlocksLieInRegion<AllocT>) {
    if (alloc.Contains(offset)) reach.size_bytes_ = ~uint64_t{0};
  }
  return reach;
}

/** What lies at an offset that the allocator has handed out. */
template <typename T, typename AllocT>
T* ObjectAt(const AllocT& alloc, OffsetPtr<> offset) noexcept {
  return reinterpret_cast<T*>(alloc.GetRegion().base_ + offset.load());
}

/** Room for a shared object, on its own cache lines. @throws Error kNoSpace */
template <typename AllocT>
OffsetPtr<> AllocateObject(AllocT& alloc, const MemContext& ctx, uint64_t bytes, const char* name) {
  const OffsetPtr<> offset = alloc.AlignedAllocateOffset(ctx, bytes, kCacheLineBytes);
  if (offset.IsNull()) {
    ThrowNoSpace(name, bytes, alloc.GetRegion().size_bytes_, alloc.GetCurrentlyAllocatedSize());
  }
  return offset;
}

/** Room for elements; null when there is none. */
template <typename AllocT>
OffsetPtr<> AllocateElements(AllocT& alloc, const MemContext& ctx, uint64_t bytes,
                             uint64_t alignment) noexcept {
  if (alignment <= kDefaultAlignment) return alloc.AllocateOffset(ctx, bytes);
  return alloc.AlignedAllocateOffset(ctx, bytes, alignment);
}

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_SHARED_OBJECT_H_
