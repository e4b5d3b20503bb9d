/** The second page of a run. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_second_page_of_run, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(250000);
  AtTheCall();
  heap.Free(block + kPageBytes);
}

}  // namespace hshm::misuse
