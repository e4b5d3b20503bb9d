/** A block of a process that died, freed by two that live. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_adopted_by_process, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.AllocateInDeadProcess(100);
  heap.InProcess([&] { heap.Free(block); });
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
