/** A freed block was written to: its link leads out of its page. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(written_after_free, "Corruption: the link of a free block") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  heap.Link(block) = 0x4141414141414141;
  AtTheCall();
  heap.AllocateMany(100);
}

}  // namespace hshm::misuse
