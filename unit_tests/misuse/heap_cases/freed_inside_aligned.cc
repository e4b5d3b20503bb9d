/** A pointer into a block that was aligned to 4096 bytes. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_inside_aligned, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.AllocateAligned(100, 4096);
  AtTheCall();
  heap.Free(block + 16);
}

}  // namespace hshm::misuse
