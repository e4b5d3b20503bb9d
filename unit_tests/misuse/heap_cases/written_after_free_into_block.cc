/** The link of a freed block leads into the middle of another. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(written_after_free_into_block, "Corruption: the link of a free block") {
  Heap heap;
  const Offset other = heap.Allocate(100);
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  heap.Link(block) = other + 16;
  AtTheCall();
  heap.AllocateMany(100);
}

}  // namespace hshm::misuse
