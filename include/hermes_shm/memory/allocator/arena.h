#ifndef HSHM_MEMORY_ALLOCATOR_ARENA_H_
#define HSHM_MEMORY_ALLOCATOR_ARENA_H_

#include <array>
#include <cstdint>
#include <memory>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/types.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/backend/membership.h"
#include "hermes_shm/memory/backend/region.h"
#include "hermes_shm/sync/atomic.h"

/**
 * Arenas: blocks that are allocated by bumping a pointer and freed all at once. The mechanism under
 * BaseAllocator::PushArena and PopArena, whose comments say how it is used.
 *
 *     arena: top_, end_, chunks_ --> newest chunk --> ... --> oldest chunk
 *
 *     chunk  | ArenaChunk | block | block | ... | top_        free         end_ |
 *     block  | padding | header word: 8 bytes | bytes, 16-byte aligned |
 *     alone  | ArenaChunk | padding | offset of the chunk: 8 bytes | header word | bytes |
 *
 * Chunks and blocks lie in the region, so every rank can read what an arena holds. The arena itself
 * is private memory of the handle that pushed it, used by one thread at a time.
 */
namespace hshm::ipc {

/** What the first chunk of an arena has unless another number is asked for, in bytes. */
inline constexpr uint64_t kDefaultArenaChunkBytes = 64_KiB;
/** Chunks double up to this, or up to what was asked for when that is more, in bytes. */
inline constexpr uint64_t kMaxArenaChunkBytes = 1_MiB;
/** Arenas of one handle that can be open at once. */
inline constexpr uint32_t kMaxArenas = 1024;

/** What arenas need of the allocator that they belong to. Made for one call, on its stack. */
class ArenaHost {
 public:
  /** Alignment counts from `origin`: 0 is the region's start, its address aligns addresses. */
  ArenaHost(const Region& region, Membership* membership, uint64_t origin)
      : region_(region), membership_(membership), origin_(origin) {}

  virtual Offset AllocateChunk(uint64_t size_bytes) noexcept = 0;
  virtual void FreeChunk(Offset chunk) noexcept = 0;

  const Region& region() const { return region_; }
  Membership* membership() const { return membership_; }
  Offset AlignUp(Offset offset, uint64_t alignment) const {
    return bits::AlignUp(offset + origin_, alignment) - origin_;
  }

 protected:
  ~ArenaHost() = default;

 private:
  const Region& region_;
  Membership* membership_;
  uint64_t origin_;
};

/** In front of every chunk; links to the other chunks of the arena. */
struct ArenaChunk {
  uint64_t older_;  // [owner] offset, 0: this is the first
  uint64_t newer_;  // [owner] offset, 0: this is the last
};
static_assert(sizeof(ArenaChunk) == 16);

/**
 * The open arenas of one handle: a place for each, found by its context.
 *
 * Invariant  A place holds an arena from Push to Pop, and its key for a time in between. The arena
 *            itself is only read and changed by the thread that uses it, never to find out whose it
 *            is: contexts of other arenas, also of popped ones, may come from any thread.
 * Ordering   Push releases the key, look-ups acquire it. Pop takes the key away before the arena.
 * ABA        The serial in a context tells the arenas apart that a place names one after the other
 *            (2^22 of them).
 * Crash      The table goes with its process. The chunks are ordinary blocks of that process.
 */
class HSHM_API ArenaTable {
 public:
  ArenaTable();
  ~ArenaTable();
  ArenaTable(const ArenaTable&) = delete;
  ArenaTable& operator=(const ArenaTable&) = delete;

  /** @throws Error kOutOfRange, kTooManyProcesses, kSystem; see BaseAllocator::PushArena */
  MemContext Push(ArenaHost& host, const MemContext& parent, uint64_t chunk_bytes);
  /** The arena and its children give their chunks back. @return the context it was pushed on */
  MemContext Pop(ArenaHost& host, const MemContext& ctx) noexcept;
  bool IsOpen(const MemContext& ctx) const noexcept { return Find(ctx) != nullptr; }

  /** Null when there is no room, and in a forked child whose parent pushed the arena. */
  Offset Allocate(ArenaHost& host, const MemContext& ctx, uint64_t size_bytes,
                  uint64_t alignment) noexcept;
  /** In place when the block is the topmost of its chunk and there is room, or gets smaller. */
  Offset Reallocate(ArenaHost& host, const MemContext& ctx, Offset block,
                    uint64_t new_bytes) noexcept;
  bool ResizeInPlace(ArenaHost& host, const MemContext& ctx, Offset block,
                     uint64_t new_bytes) noexcept;
  void Free(ArenaHost& host, const MemContext& ctx, Offset block) noexcept;
  /** Of a living block: its size in whole words. */
  uint64_t UsableBytes(ArenaHost& host, const MemContext& ctx, Offset block) const noexcept;

 private:
  struct Arena;

  Arena* Find(const MemContext& ctx) const noexcept;
  Arena& Open(const char* operation, const MemContext& ctx) const noexcept;
  bool Publish(Arena* arena, uint32_t slot) noexcept;
  void Close(ArenaHost& host, Arena* arena) noexcept;

  struct Place {
    Atomic<uint64_t> key_;  // the arena's context; 0: none is open here
    Atomic<Arena*> arena_;  // null: the place is free
  };

  Atomic<uint32_t> serials_;  // of arenas pushed so far
  std::array<Place, kMaxArenas> places_{};
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_ARENA_H_
