/** The old block, after a reallocation has moved it. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_after_move, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  if (heap.Reallocate(block, 5000) == block) _exit(3);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
