#include "hermes_shm/memory/allocator/arena.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/defects.h"
#include "hermes_shm/base/error.h"

namespace hshm::ipc {
namespace {

constexpr uint64_t kWord = sizeof(uint64_t);
constexpr uint64_t kMinChunkBytes = 256;
/** Serials stand above the place in a context's tid_, and no tid_ may be MemContext::kNone. */
constexpr uint32_t kSerials = ~uint32_t{0} / kMaxArenas;
constexpr uint64_t kMaxAskedChunkBytes = uint64_t{1} << 40;
constexpr uint64_t kMaxBlockBytes = uint64_t{1} << 47;  // so that sums of a few cannot wrap
/** Where the first block of a chunk begins: room for a header word, aligned to 16. */
constexpr uint64_t kFirstBlock = sizeof(ArenaChunk) + kDefaultAlignment;
/** A block that needs more than this part of a chunk gets one of its own: of the chunk that it did
 * not fit into, less than that is wasted. */
constexpr uint64_t kAlonePart = 4;

/** In front of a block: {tag:16, bytes in words:45, flags:3}. The tag belongs to arena and offset.
 */
struct BlockWord {
  static constexpr uint64_t kFreed = 1;
  static constexpr uint64_t kPadded = 2;  // a word of padding lies in front of this one
  static constexpr uint64_t kAlone = 4;   // the block has its chunk for itself
  static constexpr uint32_t kTagShift = 48;

  static uint64_t TagFor(uint64_t key, Offset block) {
    return (block * 0x9e3779b97f4a7c15 ^ key * 0xc2b2ae3d27d4eb4f) >> kTagShift << kTagShift;
  }
  static uint64_t Make(uint64_t key, Offset block, uint64_t bytes, uint64_t flags) {
    return TagFor(key, block) | bytes | flags;  // bytes are whole words: their last 3 bits are 0
  }
  static uint64_t Bytes(uint64_t word) {
    return word & ((uint64_t{1} << kTagShift) - 1) & ~uint64_t{7};
  }
};

uint64_t* WordAt(const ArenaHost& host, Offset offset) {
  return reinterpret_cast<uint64_t*>(host.region().AddressOf(offset));
}
ArenaChunk* ChunkAt(const ArenaHost& host, Offset offset) {
  return reinterpret_cast<ArenaChunk*>(WordAt(host, offset));
}

uint64_t KeyOf(const MemContext& ctx) { return (uint64_t{ctx.pid_} << 32) | ctx.tid_; }

/** Whole words, at least one. Callers have bounded it. */
uint64_t BlockBytes(uint64_t size_bytes) {
  return size_bytes == 0 ? kWord : bits::AlignUp(size_bytes, kWord);
}

/** The word in front of what may not be a block of an arena at all: of a block of malloc's it is
 * malloc's own, which AddressSanitizer would stop at before the defect is named. */
HSHM_NO_SANITIZE_ADDRESS uint64_t WordOfSuspect(const ArenaHost& host, Offset block) {
  return *WordAt(host, block - kWord);
}

void CheckChunkBytes(uint64_t chunk_bytes) {
  if (chunk_bytes != 0 && chunk_bytes <= kMaxAskedChunkBytes) return;
  throw Error(ErrorCode::kOutOfRange, "An arena was asked for with chunks of " +
                                          std::to_string(chunk_bytes) +
                                          " bytes: 1 byte to 1 TiB can be chosen.");
}

}  // namespace

/** One arena, in private memory. Offsets may lie outside of the region (MallocAllocator) and count
 * modulo 2^64: only their differences are compared. */
struct ArenaTable::Arena {
  uint64_t key_ = 0;  // its context
  MemContext parent_ctx_;
  Arena* parent_ = nullptr;
  Arena* first_child_ = nullptr;
  Arena* next_sibling_ = nullptr;
  // Who may use it; nobody else can when the region is private.
  bool is_shared_ = false;
  uint32_t slot_ = 0;
  uint32_t generation_ = 0;

  Offset chunks_ = 0;  // the newest
  Offset top_ = 0;     // a multiple of a word
  Offset end_ = 0;
  uint64_t next_bytes_ = 0;
  uint64_t max_bytes_ = 0;

  /** A forked child has a copy of this, but the chunks are its parent's. */
  bool IsOurs(const ArenaHost& host) const {
    const Membership& me = *host.membership();
    return !is_shared_ || (me.IsMember() && me.slot() == slot_ && me.generation() == generation_);
  }

  void Link(const ArenaHost& host, Offset chunk) {
    *ChunkAt(host, chunk) = {chunks_, 0};
    if (chunks_ != 0) ChunkAt(host, chunks_)->newer_ = chunk;
    chunks_ = chunk;
  }
  void Unlink(const ArenaHost& host, Offset chunk) {
    const ArenaChunk links = *ChunkAt(host, chunk);
    if (links.older_ != 0) ChunkAt(host, links.older_)->newer_ = links.newer_;
    (links.newer_ != 0 ? ChunkAt(host, links.newer_)->older_ : chunks_) = links.older_;
  }

  /** From the current chunk; 0 when it has no room. */
  Offset Bump(const ArenaHost& host, uint64_t bytes, uint64_t alignment) {
    const Offset block = host.AlignUp(top_ + kWord, alignment);
    const uint64_t padding = block - top_ - kWord;
    if (kWord + padding + bytes > end_ - top_) return 0;
    *WordAt(host, block - kWord) =
        BlockWord::Make(key_, block, bytes, padding == kWord ? BlockWord::kPadded : 0);
    top_ = block + bytes;
    return block;
  }

  /** The remainder of the current chunk is given up. False when not even `needed` is to be had. */
  bool NewChunk(ArenaHost& host, uint64_t needed) {
    for (uint64_t bytes = next_bytes_;; bytes = std::max(bytes / 2, needed)) {
      const Offset chunk = host.AllocateChunk(bytes);
      if (chunk != 0) {
        Link(host, chunk);
        top_ = chunk + sizeof(ArenaChunk);
        end_ = chunk + bits::AlignDown(bytes, kWord);
        if (bytes == next_bytes_) next_bytes_ = std::min(2 * bytes, max_bytes_);
        return true;
      }
      if (bytes == needed) return false;
    }
  }

  Offset AllocateAlone(ArenaHost& host, uint64_t bytes, uint64_t alignment) {
    const Offset chunk = host.AllocateChunk(kFirstBlock + bytes + alignment - kDefaultAlignment);
    if (chunk == 0) return 0;
    Link(host, chunk);
    const Offset block = host.AlignUp(chunk + kFirstBlock, alignment);
    *WordAt(host, block - 2 * kWord) = chunk;
    *WordAt(host, block - kWord) = BlockWord::Make(key_, block, bytes, BlockWord::kAlone);
    return block;
  }

  Offset Allocate(ArenaHost& host, uint64_t bytes, uint64_t alignment) {
    const Offset block = Bump(host, bytes, alignment);
    if (block != 0) return block;
    const uint64_t needed = kFirstBlock + bytes + alignment - kDefaultAlignment;
    if (needed > next_bytes_ / kAlonePart) return AllocateAlone(host, bytes, alignment);
    return NewChunk(host, needed) ? Bump(host, bytes, alignment) : 0;
  }

  /** The header word of a living block of this arena; stops with the defect's name otherwise. */
  uint64_t LivingWord(const ArenaHost& host, const char* operation, Offset block) const {
    if (block % kDefaultAlignment != 0) defect::InvalidFree(operation, block);
    const uint64_t word = WordOfSuspect(host, block);
    if ((word ^ BlockWord::TagFor(key_, block)) >> BlockWord::kTagShift != 0) {
      defect::InvalidFree(operation, block);
    }
    if ((word & BlockWord::kFreed) != 0) defect::DoubleFree(operation, block);
    return word;
  }

  /** The topmost block moves top; any other fits, or does not. */
  bool Resize(const ArenaHost& host, Offset block, uint64_t word, uint64_t wanted) {
    const uint64_t present = BlockWord::Bytes(word);
    const bool is_topmost = (word & BlockWord::kAlone) == 0 && block + present == top_;
    if (!is_topmost || wanted > end_ - block) return wanted <= present;
    top_ = block + wanted;
    *WordAt(host, block - kWord) = word - present + wanted;
    return true;
  }

  void Free(ArenaHost& host, Offset block, uint64_t word) {
    *WordAt(host, block - kWord) = word | BlockWord::kFreed;
    if ((word & BlockWord::kAlone) != 0) {
      const Offset chunk = *WordAt(host, block - 2 * kWord);
      Unlink(host, chunk);
      host.FreeChunk(chunk);
    } else if (block + BlockWord::Bytes(word) == top_) {
      top_ = block - kWord - ((word & BlockWord::kPadded) != 0 ? kWord : 0);
    }
  }

  void FreeChunks(ArenaHost& host) {
    while (chunks_ != 0) {
      const Offset chunk = chunks_;
      chunks_ = ChunkAt(host, chunk)->older_;
      host.FreeChunk(chunk);
    }
  }
};

// ---- open and close ----------------------------------------------------------------------------

ArenaTable::ArenaTable()
    // A context of another handle, or of an earlier life of this one, is most likely noticed.
    : serials_(static_cast<uint32_t>(reinterpret_cast<uintptr_t>(this) >> 4) * 0x9e3779b1) {}

ArenaTable::~ArenaTable() {
  for (Place& place : places_) {
    delete place.arena_.load(
        std::memory_order_relaxed);  // relaxed: nobody uses the handle any more
  }
}

ArenaTable::Arena* ArenaTable::Find(const MemContext& ctx) const noexcept {
  if (!ctx.IsArena()) return nullptr;
  const Place& place = places_[ctx.tid_ % kMaxArenas];
  // acquire: pairs with Publish
  if (place.key_.load(std::memory_order_acquire) != KeyOf(ctx)) return nullptr;
  return place.arena_.load(std::memory_order_relaxed);  // relaxed: it stands there before the key
}

ArenaTable::Arena& ArenaTable::Open(const char* operation, const MemContext& ctx) const noexcept {
  Arena* arena = Find(ctx);
  if (HSHM_UNLIKELY(arena == nullptr)) defect::ClosedArena(operation, ctx.tid_);
  return *arena;
}

/** In a free place. False when there is none. */
bool ArenaTable::Publish(Arena* arena, uint32_t slot) noexcept {
  const uint32_t serial = serials_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a number
  for (uint32_t i = 0; i < kMaxArenas; ++i) {
    const uint32_t index = (serial + i) % kMaxArenas;
    Place& place = places_[index];
    Arena* nobody = nullptr;
    if (!place.arena_.compare_exchange_strong(nobody, arena,
                                              std::memory_order_acquire,     // pairs with Close
                                              std::memory_order_relaxed)) {  // relaxed: reads only
      continue;
    }
    arena->key_ = KeyOf(MemContext::OfArena(slot, serial % kSerials * kMaxArenas + index));
    place.key_.store(arena->key_, std::memory_order_release);  // pairs with Find
    return true;
  }
  return false;
}

MemContext ArenaTable::Push(ArenaHost& host, const MemContext& parent, uint64_t chunk_bytes) {
  CheckChunkBytes(chunk_bytes);
  Arena* const outer = parent.IsArena() ? &Open("PushArena", parent) : nullptr;
  const LockIdentity me = host.membership()->IdentityOrRejoin();
  if (me.peers_ == nullptr) {
    throw Error(ErrorCode::kTooManyProcesses,
                "No arena: this forked child got no process slot of its own. Let processes detach, "
                "or make the region larger.");
  }
  auto arena = std::unique_ptr<Arena>(new (std::nothrow) Arena);
  if (arena == nullptr) {
    throw Error(ErrorCode::kSystem, "The system has no private memory for the notes of an arena.");
  }
  arena->parent_ctx_ = parent;
  arena->is_shared_ = host.region().services_->IsShared();
  arena->slot_ = me.slot_;
  arena->generation_ = me.generation_;
  arena->next_bytes_ = std::max(bits::AlignUp(chunk_bytes, kCacheLineBytes), kMinChunkBytes);
  arena->max_bytes_ = std::max(arena->next_bytes_, kMaxArenaChunkBytes);
  if (!Publish(arena.get(), me.slot_)) {
    throw Error(ErrorCode::kOutOfRange, std::to_string(kMaxArenas) +
                                            " arenas of this allocator handle are open, which is "
                                            "the most: pop those that are no longer used.");
  }
  Arena* const pushed = arena.release();
  if (outer != nullptr) {
    pushed->parent_ = outer;
    pushed->next_sibling_ = std::exchange(outer->first_child_, pushed);
  }
  return MemContext(static_cast<uint32_t>(pushed->key_ >> 32), static_cast<uint32_t>(pushed->key_));
}

/** Children first; the arena is off its parent's list. */
void ArenaTable::Close(ArenaHost& host, Arena* arena) noexcept {
  Arena* at = arena;
  for (;;) {
    while (at->first_child_ != nullptr) at = at->first_child_;
    Arena* const next = at == arena ? nullptr : at->parent_;
    if (next != nullptr) next->first_child_ = at->next_sibling_;
    if (at->IsOurs(host)) at->FreeChunks(host);
    Place& place = places_[static_cast<uint32_t>(at->key_) % kMaxArenas];
    place.key_.store(0, std::memory_order_relaxed);  // relaxed: who looks for it is this thread
    place.arena_.store(nullptr, std::memory_order_release);  // pairs with Publish
    delete at;
    if (next == nullptr) return;
    at = next;
  }
}

MemContext ArenaTable::Pop(ArenaHost& host, const MemContext& ctx) noexcept {
  Arena& arena = Open("PopArena", ctx);
  const MemContext parent = arena.parent_ctx_;
  if (arena.parent_ != nullptr) {
    Arena** link = &arena.parent_->first_child_;
    while (*link != &arena) link = &(*link)->next_sibling_;
    *link = arena.next_sibling_;
  }
  Close(host, &arena);
  return parent;
}

// ---- blocks ------------------------------------------------------------------------------------

Offset ArenaTable::Allocate(ArenaHost& host, const MemContext& ctx, uint64_t size_bytes,
                            uint64_t alignment) noexcept {
  Arena& arena = Open("Allocate", ctx);
  if (size_bytes > kMaxBlockBytes || alignment > kMaxBlockBytes) return 0;
  if (HSHM_UNLIKELY(!arena.IsOurs(host))) return 0;
  return arena.Allocate(host, BlockBytes(size_bytes), std::max(alignment, kDefaultAlignment));
}

Offset ArenaTable::Reallocate(ArenaHost& host, const MemContext& ctx, Offset block,
                              uint64_t new_bytes) noexcept {
  Arena& arena = Open("Reallocate", ctx);
  const uint64_t word = arena.LivingWord(host, "Reallocate", block);
  if (new_bytes > kMaxBlockBytes || !arena.IsOurs(host)) return 0;
  const uint64_t present = BlockWord::Bytes(word);
  const uint64_t wanted = BlockBytes(new_bytes);
  if (arena.Resize(host, block, word, wanted)) return block;
  const Offset moved = arena.Allocate(host, wanted, kDefaultAlignment);
  if (moved == 0) return 0;
  std::memcpy(WordAt(host, moved), WordAt(host, block), present);
  arena.Free(host, block, word);
  return moved;
}

bool ArenaTable::ResizeInPlace(ArenaHost& host, const MemContext& ctx, Offset block,
                               uint64_t new_bytes) noexcept {
  Arena& arena = Open("ResizeInPlace", ctx);
  const uint64_t word = arena.LivingWord(host, "ResizeInPlace", block);
  if (new_bytes > kMaxBlockBytes || !arena.IsOurs(host)) return false;
  return arena.Resize(host, block, word, BlockBytes(new_bytes));
}

void ArenaTable::Free(ArenaHost& host, const MemContext& ctx, Offset block) noexcept {
  Arena& arena = Open("Free", ctx);
  const uint64_t word = arena.LivingWord(host, "Free", block);
  if (arena.IsOurs(host)) arena.Free(host, block, word);
}

uint64_t ArenaTable::UsableBytes(ArenaHost& host, const MemContext& ctx,
                                 Offset block) const noexcept {
  return BlockWord::Bytes(Open("GetUsableSize", ctx).LivingWord(host, "GetUsableSize", block));
}

}  // namespace hshm::ipc
