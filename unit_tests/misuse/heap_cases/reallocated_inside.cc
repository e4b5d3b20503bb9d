/** A pointer into a block is reallocated. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(reallocated_inside, "InvalidFree: Reallocate") {
  Heap heap;
  const Offset block = heap.Allocate(300);
  AtTheCall();
  heap.Reallocate(block + 32, 400);
}

}  // namespace hshm::misuse
