/** A pointer into a block of a process that died. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_inside_adopted, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.AllocateInDeadProcess(100);
  AtTheCall();
  heap.Free(block + 16);
}

}  // namespace hshm::misuse
