/** The link of a freed block leads to a block that a user has: it would be handed out twice. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(written_after_free_overlap, "OverlappingBlock: Allocate") {
  Heap heap;
  const Offset other = heap.Allocate(100);
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  heap.Link(block) = other;
  AtTheCall();
  heap.AllocateMany(100);
}

}  // namespace hshm::misuse
