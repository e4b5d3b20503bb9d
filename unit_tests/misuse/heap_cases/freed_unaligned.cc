/** A pointer one byte into a block. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_unaligned, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(300);
  AtTheCall();
  heap.Free(block + 1);
}

}  // namespace hshm::misuse
