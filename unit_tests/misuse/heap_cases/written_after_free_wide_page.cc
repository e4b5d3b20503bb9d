/** A freed block of a wide page was written to. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(written_after_free_wide_page, "Corruption: the link of a free block") {
  Heap heap;
  const Offset block = heap.Allocate(20000);
  heap.Allocate(20000);
  heap.Free(block);
  heap.Link(block) = 0x4141414141414141;
  AtTheCall();
  heap.AllocateMany(20000);
}

}  // namespace hshm::misuse
