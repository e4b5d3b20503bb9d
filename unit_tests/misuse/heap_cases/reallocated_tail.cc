/** A page that a block gave up when it shrank. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(reallocated_tail, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(600000);
  if (heap.Reallocate(block, 200000) != block) _exit(3);
  AtTheCall();
  heap.Free(block + 8 * kPageBytes);
}

}  // namespace hshm::misuse
