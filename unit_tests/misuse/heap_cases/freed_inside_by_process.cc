/** The same by another process. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_inside_by_process, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(300);
  AtTheCall();
  heap.InProcess([&] { heap.Free(block + 16); });
}

}  // namespace hshm::misuse
