/** A freed block is reallocated. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(reallocated_after_free, "DoubleFree: Reallocate") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  AtTheCall();
  heap.Reallocate(block, 120);
}

}  // namespace hshm::misuse
