#ifndef HSHM_MEMORY_ALLOCATOR_SCOPED_ARENA_H_
#define HSHM_MEMORY_ALLOCATOR_SCOPED_ARENA_H_

#include "hermes_shm/memory/allocator/base_allocator.h"

namespace hshm::ipc {

/**
 * An arena for a scope: everything that is allocated with its context goes when the scope ends,
 * unless the arena went before, with its parent or its handle.
 *
 *     ScopedArena arena(alloc);
 *     auto scratch = alloc->Allocate(arena.ctx(), 1000);  // never freed
 */
template <typename AllocT>
class ScopedArena {
 public:
  /** On ctx, which may be another arena's. @throws Error as BaseAllocator::PushArena */
  explicit ScopedArena(AllocT* alloc, const MemContext& ctx = MemContext(),
                       size_t chunk_bytes = kDefaultArenaChunkBytes)
      : alloc_(alloc), ctx_(alloc->PushArena(ctx, chunk_bytes)) {}
  ~ScopedArena() {
    if (alloc_->HasArena(ctx_)) alloc_->PopArena(ctx_);
  }
  ScopedArena(const ScopedArena&) = delete;
  ScopedArena& operator=(const ScopedArena&) = delete;

  const MemContext& ctx() const noexcept { return ctx_; }

 private:
  AllocT* alloc_;
  MemContext ctx_;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_SCOPED_ARENA_H_
