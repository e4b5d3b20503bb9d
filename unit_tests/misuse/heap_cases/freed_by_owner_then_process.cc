/** The owner frees, then another process. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_by_owner_then_process, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  AtTheCall();
  heap.InProcess([&] { heap.Free(block); });
}

}  // namespace hshm::misuse
