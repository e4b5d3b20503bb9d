/** A block of the root. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_large, "DoubleFree: Free") {
  Heap heap(1 << 20);
  const Offset block = heap.Allocate(5 << 20);
  heap.Free(block);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
