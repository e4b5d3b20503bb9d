#ifndef HSHM_MEMORY_ALLOCATOR_BASE_ALLOCATOR_H_
#define HSHM_MEMORY_ALLOCATOR_BASE_ALLOCATOR_H_

#include <bit>
#include <concepts>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/defects.h"
#include "hermes_shm/intrusive/offset_ptr.h"
#include "hermes_shm/memory/allocator/allocator_core.h"

namespace hshm::ipc {

/**
 * What an allocator class must offer to BaseAllocator. Offsets count from the region start; null is
 * 0 and means "no room". All but Init, Attach and Detach are noexcept and safe to call from any
 * thread of any process that is attached. A call whose context IsArena() goes on to
 * AllocateInArena, ReallocateInArena or FreeInArena; where that is asked, ordinary calls must not
 * pay for it. GetUsableBytes is 0, ResizeBlock false, when a lock that it needs cannot be had.
 */
template <typename A>
concept CoreAllocator = requires(A a, const MemContext& ctx, Offset off, uint64_t n) {
  { A::kType } -> std::convertible_to<AllocatorType>;
  { a.AllocateOffset(ctx, n) }
  noexcept->std::same_as<OffsetPtr<>>;
  { a.AlignedAllocateOffset(ctx, n, n) }
  noexcept->std::same_as<OffsetPtr<>>;
  { a.ReallocateOffsetNoNullCheck(ctx, OffsetPtr<>(off), n) }
  noexcept->std::same_as<OffsetPtr<>>;
  { a.FreeOffsetNoNullCheck(ctx, OffsetPtr<>(off)) }
  noexcept;
  { a.GetUsableBytes(OffsetPtr<>(off)) }
  noexcept->std::same_as<size_t>;
  { a.ResizeBlock(OffsetPtr<>(off), n) }
  noexcept->std::same_as<bool>;
  { a.GetCurrentlyAllocatedSize() }
  noexcept->std::same_as<size_t>;
  { a.CreateTls(ctx) }
  noexcept->std::same_as<MemContext>;
  { a.FreeTls(ctx) }
  noexcept;
  { a.Check() }
  noexcept->std::same_as<bool>;
  { a.GetStats() } -> std::same_as<AllocatorStats>;
};

/**
 * The interface of every allocator, over the few operations that Derived supplies (CRTP). A handle
 * in private memory, one per process and region; what it allocates is shared.
 *
 * Sizes are bytes unless a name says Objs. Blocks are aligned to 16 bytes unless more was asked
 * for. No room is a null pointer, silently. A broken rule (freeing null, a foreign pointer, an
 * alignment that is no power of two) stops the process with the defect's name.
 */
template <typename Derived>
class BaseAllocator : public AllocatorCore {
 public:
  /** Alignment counts from the region's start; a Derived that says true counts from address 0. */
  static constexpr bool kAlignsAddresses = false;
  /** A Derived that says true stops with NullFree in FreeOffsetNoNullCheck, where it costs nothing.
   * An arena's null it leaves to FreeInArena. */
  static constexpr bool kFindsNullFrees = false;

  /**
   * Makes a new allocator in the region. @throws Error kBackendInUse when one is there already,
   * kHolderStopped, kOutOfRange, kNoSpace; what Derived's Init throws.
   * @return the context of the calling thread
   */
  template <typename... Args>
  MemContext shm_init(AllocatorId id, size_t custom_header_size, const Region& region,
                      Args&&... args) {
    static_assert(CoreAllocator<Derived>);
    const Offset core = BeginInit(id, custom_header_size, region);
    MemContext ctx;
    try {
      ctx = self().Init(core, std::forward<Args>(args)...);
    } catch (...) {
      AbandonInit();
      throw;
    }
    FinishInit(Derived::kType);
    return ctx;
  }

  /** Joins the allocator of a region. @throws Error kWrongAllocator, kNotReady, kVersionMismatch,
   * kTooManyProcesses. @return the context of the calling thread */
  template <typename... Args>
  MemContext shm_attach(const Region& region, Args&&... args) {
    const Offset core = BeginAttach(Derived::kType, region);
    MemContext ctx;
    try {
      ctx = self().Attach(core, std::forward<Args>(args)...);
    } catch (...) {
      EndAttachment();
      throw;
    }
    FinishAttach();
    return ctx;
  }

  /** Leaves the region. What this process allocated is treated as its allocator documents. */
  void shm_detach() {
    if (!IsAttached()) return;
    BeginDetach();
    self().Detach();
    EndAttachment();
  }

  // ---- arenas --------------------------------------------------------------------------------

  /**
   * Opens an arena: all calls that name the returned context are served from it by bumping a
   * pointer in chunks that are ordinary blocks of this allocator. The first has chunk_bytes, each
   * further one twice as many, up to 1 MiB; a block that needs more than a quarter of a chunk gets
   * one of its own. A block costs 8 bytes more than its size. No chunk is taken before the first
   * block.
   *
   * Free in an arena gives back the topmost block of its chunk, and one with its own chunk; any
   * other only goes with the arena. Reallocate grows the topmost block in place. An arena's blocks
   * may be read and written by every rank; freeing them with another context than the arena's is a
   * broken rule. One thread at a time uses an arena. Pushed on an arena's context, the new one is
   * its child: it goes with its parent, at the latest. For the rest ctx is what PopArena returns.
   *
   * When the process detaches, dies or forks, the chunks of its open arenas are what its other
   * blocks are: see the allocator's page. A forked child has no room in its parent's arenas on a
   * shared region, and frees nothing when it pops them; it pushes arenas of its own.
   *
   * @throws Error kOutOfRange when chunk_bytes is 0 or above 1 TiB, or kMaxArenas of this handle
   * are open; kTooManyProcesses in a forked child that gets no slot; kSystem
   */
  MemContext PushArena(const MemContext& ctx, size_t chunk_bytes = kDefaultArenaChunkBytes) {
    RequireAttached("PushArena");
    Host host(&self());
    return arenas_->Push(host, ctx, chunk_bytes);
  }
  /** Frees all blocks of the arena and of its children at once, and closes them. Stops with
   * ClosedArena when it is not open. @return the context on which it was pushed */
  MemContext PopArena(const MemContext& arena) noexcept {
    RequireAttached("PopArena");
    Host host(&self());
    return arenas_->Pop(host, arena);
  }
  /** True from PushArena to PopArena, in the life of this handle that pushed it. */
  bool HasArena(const MemContext& arena) const noexcept {
    return IsAttached() && arenas_->IsOpen(arena);
  }

  // ---- offsets -------------------------------------------------------------------------------

  /** The size may be 0 and grow from null. On null the old block is untouched. */
  OffsetPtr<> ReallocateOffset(const MemContext& ctx, OffsetPtr<> offset, size_t size) noexcept {
    if (offset.IsNull()) return self().AllocateOffset(ctx, size);
    return self().ReallocateOffsetNoNullCheck(ctx, offset, size);
  }

  /** Grows or shrinks a block where it is, as aligned as it was. False when that cannot be, or
   * would waste much of it: then nothing has changed. */
  bool ResizeInPlace(const MemContext& ctx, OffsetPtr<> offset, size_t size) noexcept {
    RequireOwn("ResizeInPlace", offset);
    return ctx.IsArena() ? ResizeInArena(ctx, offset, size) : self().ResizeBlock(offset, size);
  }

  /** Stops with NullFree when the offset is null. */
  HSHM_INLINE void FreeOffset(const MemContext& ctx, OffsetPtr<> offset) noexcept {
    if constexpr (!Derived::kFindsNullFrees) {
      if (HSHM_UNLIKELY(offset.IsNull())) defect::NullFree("FreeOffset");
    }
    self().FreeOffsetNoNullCheck(ctx, offset);
  }

  /** Bytes that the block can hold: at least what was asked for; no block of an arena. Stops like a
   * free of what is no block. 0 when that cannot be found out: there is no room for the thread's
   * heap, or the holder of the lock is stopped. */
  size_t GetUsableSize(OffsetPtr<> offset) noexcept {
    RequireOwn("GetUsableSize", offset);
    return self().GetUsableBytes(offset);
  }
  /** The same of any block, with the context that it was allocated with. */
  size_t GetUsableSize(const MemContext& ctx, OffsetPtr<> offset) noexcept {
    return ctx.IsArena() ? UsableBytesInArena(ctx, offset) : GetUsableSize(offset);
  }

  /** A block that is zero. Where an allocator knows that its memory is, it says so on its page and
   * spares the writing; others write all of it. */
  OffsetPtr<> AllocateZeroedOffset(const MemContext& ctx, size_t size) noexcept {
    const OffsetPtr<> block = self().AllocateOffset(ctx, size);
    if (!block.IsNull()) std::memset(region_.AddressOf(block.load()), 0, size);
    return block;
  }

  // ---- typed blocks --------------------------------------------------------------------------

  /** size bytes, whatever T is. */
  template <typename T = char>
  [[nodiscard]] HSHM_INLINE FullPtr<T> Allocate(const MemContext& ctx, size_t size) noexcept {
    return ToFullPtr<T>(self().AllocatePlaced(ctx, size));
  }
  /** size bytes, all of them zero. */
  template <typename T = char>
  [[nodiscard]] FullPtr<T> AllocateZeroed(const MemContext& ctx, size_t size) noexcept {
    return ToFullPtr<T>(self().AllocateZeroedOffset(ctx, size));
  }
  template <typename T = char>
  [[nodiscard]] FullPtr<T> AlignedAllocate(const MemContext& ctx, size_t size,
                                           size_t alignment) noexcept {
    return ToFullPtr<T>(self().AlignedAllocateOffset(ctx, size, alignment));
  }
  /** Grows or shrinks, moving the bytes when it must. On null the old block is untouched. */
  template <typename T>
  [[nodiscard]] FullPtr<T> Reallocate(const MemContext& ctx, const FullPtr<T>& ptr,
                                      size_t new_size) noexcept {
    RequireOurs("Reallocate", ptr.shm_.alloc_id_);
    return ToFullPtr<T>(ReallocateOffset(ctx, OffsetPtr<>(ptr.shm_.off_.load()), new_size));
  }
  /** Stops with ForeignPointer when the pointer names another allocator. */
  template <typename T>
  HSHM_INLINE void Free(const MemContext& ctx, const FullPtr<T>& ptr) noexcept {
    Free(ctx, ptr.shm_);
  }
  template <typename T>
  HSHM_INLINE void Free(const MemContext& ctx, const ShmPtr<T>& ptr) noexcept {
    RequireOurs("Free", ptr.alloc_id_);
    FreeOffset(ctx, OffsetPtr<>(ptr.off_.load()));
  }
  template <typename T>
  void Free(const MemContext& ctx, const OffsetPtr<T>& ptr) noexcept {
    FreeOffset(ctx, OffsetPtr<>(ptr.load()));
  }

  // ---- objects -------------------------------------------------------------------------------

  /** Room for count objects, not constructed. Null when count * sizeof(T) overflows. */
  template <typename T>
  [[nodiscard]] FullPtr<T> AllocateObjs(const MemContext& ctx, size_t count) noexcept {
    if (count > std::numeric_limits<size_t>::max() / sizeof(T)) return FullPtr<T>();
    return AllocateFor<T>(ctx, count * sizeof(T));
  }
  /** Only for types whose bytes may be moved. On null the old objects are untouched. */
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] FullPtr<T> ReallocateObjs(const MemContext& ctx, const FullPtr<T>& ptr,
                                          size_t new_count) noexcept {
    if (new_count > std::numeric_limits<size_t>::max() / sizeof(T)) return FullPtr<T>();
    if constexpr (alignof(T) > kDefaultAlignment) {
      return ReallocateAligned<T>(ctx, ptr, new_count * sizeof(T));
    } else {
      return Reallocate<T>(ctx, ptr, new_count * sizeof(T));
    }
  }
  /** When the constructor throws, the block is freed, and the exception goes on. */
  template <typename T, typename... Args>
  [[nodiscard]] FullPtr<T> NewObj(const MemContext& ctx, Args&&... args) {
    FullPtr<T> obj = AllocateObjs<T>(ctx, 1);
    if (obj.IsNull()) return obj;
    try {
      new (obj.ptr_) T(std::forward<Args>(args)...);
    } catch (...) {
      Free(ctx, obj);
      throw;
    }
    return obj;
  }
  /** Constructs count objects from the same arguments. When a constructor throws, the objects made
   * so far are destroyed, the block is freed, and the exception goes on. */
  template <typename T, typename... Args>
  [[nodiscard]] FullPtr<T> NewObjs(const MemContext& ctx, size_t count, Args&&... args) {
    FullPtr<T> objs = AllocateObjs<T>(ctx, count);
    if (objs.IsNull()) return objs;
    size_t made = 0;
    try {
      for (; made < count; ++made) new (objs.ptr_ + made) T(args...);
    } catch (...) {
      std::destroy_n(objs.ptr_, made);
      Free(ctx, objs);
      throw;
    }
    return objs;
  }
  template <typename T>
  void DelObj(const MemContext& ctx, const FullPtr<T>& ptr) noexcept {
    DelObjs(ctx, ptr, 1);
  }
  template <typename T>
  void DelObjs(const MemContext& ctx, const FullPtr<T>& ptr, size_t count) noexcept {
    if (ptr.IsNull()) defect::NullFree("DelObjs");
    RequireOurs("DelObjs", ptr.shm_.alloc_id_);
    std::destroy_n(ptr.ptr_, count);
    Free(ctx, ptr);
  }

  // ---- statistics ----------------------------------------------------------------------------

  /**
   * What is in use, by whom, and how it lies: see AllocatorStats and docs/statistics.md. Takes the
   * locks of the allocator's slow paths and looks at every page, about a millisecond per GiB; may
   * be called while others work. @throws std::bad_alloc
   */
  [[nodiscard]] AllocatorStats GetStats() {
    RequireAttached("GetStats");
    AllocatorStats stats = BeginStats(Derived::kType);
    self().AddStats(&stats);
    stats.LeaveOutEmpty();
    return stats;
  }

  // ---- names ---------------------------------------------------------------------------------

  /** Leaves an object for other ranks to find. See AllocatorCore::SetRootOffset. */
  template <typename T>
  bool SetRoot(std::string_view name, const FullPtr<T>& ptr) noexcept {
    RequireOurs("SetRoot", ptr.shm_.alloc_id_);
    return SetRoot(name, OffsetPtr<>(ptr.shm_.off_.load()));
  }
  bool SetRoot(std::string_view name, OffsetPtr<> offset) noexcept {
    if (IsAttached() && !offset.IsNull() && !self().Contains(offset)) {
      defect::ForeignPointer("SetRoot", offset.load(), region_.size_bytes_);
    }
    return SetRootOffset(name, offset);
  }

  /** What was left under the name; null when nothing was. */
  template <typename T>
  [[nodiscard]] FullPtr<T> FindRoot(std::string_view name) noexcept {
    const OffsetPtr<> found = FindRootOffset(name);
    // A word that was overwritten leads nowhere, rather than out of the memory.
    const bool is_sound = found.IsNull() || self().Contains(found);
    return ToFullPtr<T>(is_sound ? found : OffsetPtr<>());
  }

 protected:
  // What Derived's operations do when their context is an arena's. By value: it may be a register.
  HSHM_NOINLINE OffsetPtr<> AllocateInArena(MemContext arena, size_t size,
                                            size_t alignment) noexcept {
    RequireAttached("Allocate");
    if (!bits::IsPowerOfTwo(alignment)) defect::BadAlignment("AlignedAllocateOffset", alignment);
    Host host(&self());
    return OffsetPtr<>(arenas_->Allocate(host, arena, size, alignment));
  }
  HSHM_NOINLINE OffsetPtr<> ReallocateInArena(MemContext arena, OffsetPtr<> offset,
                                              size_t size) noexcept {
    RequireOwn("Reallocate", offset);
    Host host(&self());
    return OffsetPtr<>(arenas_->Reallocate(host, arena, offset.load(), size));
  }
  HSHM_NOINLINE bool ResizeInArena(MemContext arena, OffsetPtr<> offset, size_t size) noexcept {
    Host host(&self());
    return arenas_->ResizeInPlace(host, arena, offset.load(), size);
  }
  HSHM_NOINLINE size_t UsableBytesInArena(MemContext arena, OffsetPtr<> offset) noexcept {
    RequireOwn("GetUsableSize", offset);
    Host host(&self());
    return arenas_->UsableBytes(host, arena, offset.load());
  }
  HSHM_NOINLINE void FreeInArena(MemContext arena, OffsetPtr<> offset) noexcept {
    if (offset.IsNull()) defect::NullFree("FreeOffset");
    RequireOwn("Free", offset);
    Host host(&self());
    arenas_->Free(host, arena, offset.load());
  }

  /** AllocateOffset, with the address: a Derived that has it at hand hides this. */
  HSHM_INLINE PlacedBlock AllocatePlaced(const MemContext& ctx, size_t size) noexcept {
    return region_.Place(self().AllocateOffset(ctx, size).load());
  }
  template <typename T>
  HSHM_INLINE FullPtr<T> ToFullPtr(OffsetPtr<> offset) const noexcept {
    return ToFullPtr<T>(region_.Place(offset.load()));
  }
  template <typename T>
  HSHM_INLINE FullPtr<T> ToFullPtr(PlacedBlock block) const noexcept {
    // One constructor for both: a pointer made in two places stays in memory where it is const.
    const uint64_t id = block.offset_ == 0 ? 0 : std::bit_cast<uint64_t>(id_);
    return FullPtr<T>(std::bit_cast<AllocatorId>(id), reinterpret_cast<T*>(block.address_),
                      block.offset_);
  }

 private:
  /** An arena's chunks are blocks of the calling thread. */
  class Host final : public ArenaHost {
   public:
    explicit Host(Derived* alloc)
        : ArenaHost(alloc->GetRegion(), &alloc->GetMembership(),
                    Derived::kAlignsAddresses
                        ? reinterpret_cast<uintptr_t>(alloc->GetRegion().base_)
                        : 0),
          alloc_(alloc) {}
    Offset AllocateChunk(uint64_t size_bytes) noexcept override {
      return alloc_->AllocateOffset(MemContext(), size_bytes).load();
    }
    void FreeChunk(Offset chunk) noexcept override {
      alloc_->FreeOffset(MemContext(), OffsetPtr<>(chunk));
    }

   private:
    Derived* alloc_;
  };

  Derived& self() { return static_cast<Derived&>(*this); }

  void RequireAttached(const char* operation) const noexcept {
    if (HSHM_UNLIKELY(!IsAttached())) defect::NotAttached(operation);
  }
  void RequireOwn(const char* operation, OffsetPtr<> offset) noexcept {
    RequireAttached(operation);
    if (HSHM_UNLIKELY(!self().Contains(offset))) {
      defect::ForeignPointer(operation, offset.load(), region_.size_bytes_);
    }
  }

  /** Reallocation knows the default alignment alone, and may move the block: this moves it itself,
   * where it cannot stay. */
  template <typename T>
  FullPtr<T> ReallocateAligned(const MemContext& ctx, const FullPtr<T>& ptr,
                               size_t new_bytes) noexcept {
    if (ptr.IsNull()) return AllocateFor<T>(ctx, new_bytes);
    RequireOurs("Reallocate", ptr.shm_.alloc_id_);
    if (ResizeInPlace(ctx, ptr.shm_.off_, new_bytes)) return ptr;
    const size_t present = GetUsableSize(ctx, ptr.shm_.off_);
    if (present == 0) return FullPtr<T>();
    const FullPtr<T> moved = AllocateFor<T>(ctx, new_bytes);
    if (moved.IsNull()) return new_bytes <= present ? ptr : moved;  // shrinking needs no room
    std::memcpy(static_cast<void*>(moved.ptr_), ptr.ptr_, bits::Min<size_t>(present, new_bytes));
    Free(ctx, ptr);
    return moved;
  }
  template <typename T>
  FullPtr<T> AllocateFor(const MemContext& ctx, size_t bytes) noexcept {
    if constexpr (alignof(T) > kDefaultAlignment) {
      return AlignedAllocate<T>(ctx, bytes, alignof(T));
    } else {
      return Allocate<T>(ctx, bytes);
    }
  }
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_BASE_ALLOCATOR_H_
