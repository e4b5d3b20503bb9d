/** A freed run is reallocated. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(reallocated_after_free_run, "DoubleFree: Reallocate") {
  Heap heap;
  const Offset block = heap.Allocate(2000000);
  heap.Free(block);
  AtTheCall();
  heap.Reallocate(block, 2100000);
}

}  // namespace hshm::misuse
