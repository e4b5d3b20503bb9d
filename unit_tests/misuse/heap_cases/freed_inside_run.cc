/** A pointer into the first page of a run. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_inside_run, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(250000);
  AtTheCall();
  heap.Free(block + 64);
}

}  // namespace hshm::misuse
