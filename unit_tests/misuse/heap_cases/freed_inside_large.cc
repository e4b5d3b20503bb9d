/** A pointer into the first page of a block of the root. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_inside_large, "InvalidFree: Free") {
  Heap heap(1 << 20);
  const Offset block = heap.Allocate(5 << 20);
  AtTheCall();
  heap.Free(block + 16);
}

}  // namespace hshm::misuse
