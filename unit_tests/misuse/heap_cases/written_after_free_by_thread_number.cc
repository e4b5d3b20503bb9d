/** The block that says which others are on the remote list was written to, where it names one of
 * them: found when its page is drained. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(written_after_free_by_thread_number, "Corruption: the link of a free block") {
  Heap heap;
  const Offset first = heap.Allocate(100);
  const Offset second = heap.Allocate(100);
  heap.InThread([&] {
    heap.Free(first);
    heap.Free(second);
  });
  reinterpret_cast<uint16_t*>(&heap.Link(first))[6] = 0x4141;
  AtTheCall();
  heap->Trim();
}

}  // namespace hshm::misuse
