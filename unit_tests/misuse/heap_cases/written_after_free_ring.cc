/** The link of a freed block leads to itself: it would be handed out again and again. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(written_after_free_ring, "OverlappingBlock: Allocate") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  heap.Link(block) = block;
  AtTheCall();
  heap.AllocateMany(100);
}

}  // namespace hshm::misuse
