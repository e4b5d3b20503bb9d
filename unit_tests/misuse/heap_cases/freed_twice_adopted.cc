/** A block of a process that died. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_adopted, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.AllocateInDeadProcess(100);
  heap.Free(block);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
