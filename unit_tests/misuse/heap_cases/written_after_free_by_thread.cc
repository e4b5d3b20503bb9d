/** The block that says which others are on the remote list was written to: found when its page is
 * drained. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(written_after_free_by_thread, "Corruption: the link of a free block") {
  Heap heap;
  const Offset first = heap.Allocate(100);
  const Offset second = heap.Allocate(100);
  heap.InThread([&] {
    heap.Free(first);
    heap.Free(second);
  });
  (&heap.Link(first))[1] = 0x4141414141414141;
  AtTheCall();
  heap->Trim();
}

}  // namespace hshm::misuse
