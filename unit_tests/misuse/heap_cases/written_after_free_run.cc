/** The link of a freed run of pages leads into the middle of a block. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(written_after_free_run, "Corruption: the link of a free block") {
  Heap heap;
  const Offset other = heap.Allocate(100);
  heap.Allocate(100000);
  const Offset run = heap.Allocate(100000);
  heap.Free(run);
  heap.Link(run) = other + 16;
  AtTheCall();
  heap.AllocateMany(100000);
}

}  // namespace hshm::misuse
