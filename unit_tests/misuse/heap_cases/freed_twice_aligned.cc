/** A block that was aligned to 4096 bytes. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_aligned, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.AllocateAligned(100, 4096);
  heap.Free(block);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
