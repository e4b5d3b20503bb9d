#ifndef HSHM_MEMORY_ALLOCATOR_ALLOCATOR_VIEW_H_
#define HSHM_MEMORY_ALLOCATOR_ALLOCATOR_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include "hermes_shm/base/defects.h"
#include "hermes_shm/intrusive/offset_ptr.h"
#include "hermes_shm/memory/backend/region.h"

namespace hshm::ipc {

/**
 * An allocator as kernels see it: what alloc->View() of the host returned goes to a kernel as an
 * argument, by value, and has the calls of BaseAllocator that need no process. Core is what the
 * allocator's handle is made of too (StackCore, BuddyCore). Valid while the region is.
 *
 * The kernel's address of the region may be another one than the host's; offsets are the same, so a
 * region that the host filled and copied to a GPU can be used there, and again after it came back.
 *
 * One side at a time: while kernels allocate from a region, the host does not, and the other way.
 * Between a GPU and a host no read-modify-write is atomic on most machines. The end of a kernel,
 * waited for, hands the region over.
 *
 * As everywhere no room is a null pointer; a broken rule traps. A MemContext names a process, and
 * no arena reaches into a kernel: pass HSHM_DEFAULT_MEM_CTX.
 */
template <typename Core>
class AllocatorView {
  static_assert(std::is_trivially_copyable_v<Core>);

 public:
  static constexpr bool kInKernels = true;

  AllocatorView() = default;
  HSHM_CROSS_FUN AllocatorView(const Core& core, AllocatorId id) noexcept : core_(core), id_(id) {}

  HSHM_CROSS_FUN AllocatorId GetId() const noexcept { return id_; }
  HSHM_CROSS_FUN const Region& GetRegion() const noexcept { return core_.region(); }
  HSHM_CROSS_FUN size_t GetCurrentlyAllocatedSize() const noexcept {
    return core_.AllocatedBytes();
  }

  // ---- addresses -------------------------------------------------------------------------------

  HSHM_CROSS_FUN bool Contains(const void* ptr) const noexcept { return GetRegion().Contains(ptr); }
  /** Offset of an address inside the region; null for null. */
  template <typename T>
  HSHM_CROSS_FUN OffsetPtr<T> ToOffset(const T* ptr) const noexcept {
    return ptr == nullptr ? OffsetPtr<T>() : OffsetPtr<T>(GetRegion().OffsetOf(ptr));
  }
  /** Address here; null for null. */
  template <typename T>
  HSHM_CROSS_FUN T* Convert(OffsetPtr<T> offset) const noexcept {
    return offset.IsNull() ? nullptr : reinterpret_cast<T*>(GetRegion().AddressOf(offset.load()));
  }
  /** What AllocateOffset returned, as a T. */
  template <typename T, bool kAtomic>
  requires(!std::is_void_v<T>)
      HSHM_CROSS_FUN T* Convert(const OffsetPtrBase<void, kAtomic>& offset) const noexcept {
    return Convert(OffsetPtr<T>(offset.load()));
  }
  /** Traps with ForeignPointer when the pointer names another allocator. */
  template <typename T>
  HSHM_CROSS_FUN T* Convert(const ShmPtr<T>& ptr) const noexcept {
    RequireOurs("Convert", ptr.alloc_id_);
    return Convert(OffsetPtr<T>(ptr.off_.load()));
  }

  // ---- offsets ---------------------------------------------------------------------------------

  HSHM_CROSS_FUN OffsetPtr<> AllocateOffset(const MemContext& ctx, size_t size) const noexcept {
    return AlignedAllocateOffset(ctx, size, kDefaultAlignment);
  }
  HSHM_CROSS_FUN OffsetPtr<> AlignedAllocateOffset(const MemContext& /*no process*/, size_t size,
                                                   size_t alignment) const noexcept {
    return OffsetPtr<>(core_.AlignedAllocate(size, alignment));
  }
  /** The size may be 0 and grow from null. On null the old block is untouched. */
  HSHM_CROSS_FUN OffsetPtr<> ReallocateOffset(const MemContext& ctx, OffsetPtr<> offset,
                                              size_t size) const noexcept {
    if (offset.IsNull()) return AllocateOffset(ctx, size);
    return OffsetPtr<>(core_.Reallocate(offset.load(), size));
  }
  /** Traps with NullFree when the offset is null. */
  HSHM_CROSS_FUN void FreeOffset(const MemContext& /*no process*/,
                                 OffsetPtr<> offset) const noexcept {
    if (HSHM_UNLIKELY(offset.IsNull())) defect::NullFree("FreeOffset");
    core_.Free(offset.load());
  }

  // ---- typed blocks ----------------------------------------------------------------------------

  /** size bytes, whatever T is. */
  template <typename T = char>
  [[nodiscard]] HSHM_CROSS_FUN FullPtr<T> Allocate(const MemContext& ctx,
                                                   size_t size) const noexcept {
    return ToFullPtr<T>(AllocateOffset(ctx, size));
  }
  template <typename T = char>
  [[nodiscard]] HSHM_CROSS_FUN FullPtr<T> AlignedAllocate(const MemContext& ctx, size_t size,
                                                          size_t alignment) const noexcept {
    return ToFullPtr<T>(AlignedAllocateOffset(ctx, size, alignment));
  }
  template <typename T>
  [[nodiscard]] HSHM_CROSS_FUN FullPtr<T> Reallocate(const MemContext& ctx, const FullPtr<T>& ptr,
                                                     size_t new_size) const noexcept {
    RequireOurs("Reallocate", ptr.shm_.alloc_id_);
    return ToFullPtr<T>(ReallocateOffset(ctx, OffsetPtr<>(ptr.shm_.off_.load()), new_size));
  }
  template <typename T>
  HSHM_CROSS_FUN void Free(const MemContext& ctx, const FullPtr<T>& ptr) const noexcept {
    Free(ctx, ptr.shm_);
  }
  template <typename T>
  HSHM_CROSS_FUN void Free(const MemContext& ctx, const ShmPtr<T>& ptr) const noexcept {
    RequireOurs("Free", ptr.alloc_id_);
    FreeOffset(ctx, OffsetPtr<>(ptr.off_.load()));
  }
  template <typename T>
  HSHM_CROSS_FUN void Free(const MemContext& ctx, const OffsetPtr<T>& ptr) const noexcept {
    FreeOffset(ctx, OffsetPtr<>(ptr.load()));
  }

  // ---- objects ---------------------------------------------------------------------------------

  /** Room for count objects, not constructed. Null when count * sizeof(T) overflows. */
  template <typename T>
  [[nodiscard]] HSHM_CROSS_FUN FullPtr<T> AllocateObjs(const MemContext& ctx,
                                                       size_t count) const noexcept {
    if (count > ~size_t{0} / sizeof(T)) return FullPtr<T>();
    constexpr size_t kAlignment = alignof(T) > kDefaultAlignment ? alignof(T) : kDefaultAlignment;
    return AlignedAllocate<T>(ctx, count * sizeof(T), kAlignment);
  }
  template <typename T, typename... Args>
  [[nodiscard]] HSHM_CROSS_FUN FullPtr<T> NewObj(const MemContext& ctx,
                                                 Args&&... args) const noexcept {
    static_assert(std::is_nothrow_constructible_v<T, Args&&...>);
    const FullPtr<T> obj = AllocateObjs<T>(ctx, 1);
    if (!obj.IsNull()) new (obj.ptr_) T(std::forward<Args>(args)...);
    return obj;
  }
  /** Constructs count objects from the same arguments. Kernels cannot throw, nor may T. */
  template <typename T, typename... Args>
  [[nodiscard]] HSHM_CROSS_FUN FullPtr<T> NewObjs(const MemContext& ctx, size_t count,
                                                  Args&&... args) const noexcept {
    static_assert(std::is_nothrow_constructible_v<T, Args&...>);
    const FullPtr<T> objs = AllocateObjs<T>(ctx, count);
    if (objs.IsNull()) return objs;
    for (size_t i = 0; i < count; ++i) new (objs.ptr_ + i) T(args...);
    return objs;
  }
  template <typename T>
  HSHM_CROSS_FUN void DelObj(const MemContext& ctx, const FullPtr<T>& ptr) const noexcept {
    DelObjs(ctx, ptr, 1);
  }
  template <typename T>
  HSHM_CROSS_FUN void DelObjs(const MemContext& ctx, const FullPtr<T>& ptr,
                              size_t count) const noexcept {
    if (ptr.IsNull()) defect::NullFree("DelObjs");
    RequireOurs("DelObjs", ptr.shm_.alloc_id_);
    for (size_t i = 0; i < count; ++i) ptr.ptr_[i].~T();
    Free(ctx, ptr);
  }

 private:
  /** As of a handle: a null id names no allocator. */
  HSHM_CROSS_FUN void RequireOurs(const char* operation, AllocatorId named) const noexcept {
    if (HSHM_UNLIKELY(!(named == id_)) && !named.IsNull()) {
      defect::ForeignPointer(operation, named, id_);
    }
  }
  template <typename T>
  HSHM_CROSS_FUN FullPtr<T> ToFullPtr(OffsetPtr<> offset) const noexcept {
    if (HSHM_UNLIKELY(offset.IsNull())) return FullPtr<T>();
    return FullPtr<T>(id_, reinterpret_cast<T*>(GetRegion().AddressOf(offset.load())),
                      offset.load());
  }

  Core core_;
  AllocatorId id_;
};

/**
 * The view of the allocator whose header lies at `header` in `region`, as seen where the region's
 * first byte is at kernel_base; null: here. A null header makes a view of no allocator.
 */
template <typename Core, typename HeaderT>
AllocatorView<Core> ViewOf(const Region& region, HeaderT* header, AllocatorId id,
                           char* kernel_base) noexcept {
  if (header == nullptr || kernel_base == nullptr) {
    return AllocatorView<Core>(Core(region, header), id);
  }
  const Region seen{kernel_base, region.size_bytes_, nullptr};
  return AllocatorView<Core>(Core(seen, seen.At<HeaderT>(region.OffsetOf(header))), id);
}

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_ALLOCATOR_VIEW_H_
