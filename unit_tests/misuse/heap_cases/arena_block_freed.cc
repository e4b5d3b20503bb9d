/** A block of an arena is freed as if it were one of the heap. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(arena_block_freed, "InvalidFree: Free") {
  Heap heap;
  const MemContext arena = heap->PushArena(MemContext());
  heap->AllocateOffset(arena, 100);
  const Offset block = heap->AllocateOffset(arena, 100).load();
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
