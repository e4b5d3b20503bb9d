/** A pointer 16 bytes into a block. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_inside, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(300);
  AtTheCall();
  heap.Free(block + 16);
}

}  // namespace hshm::misuse
