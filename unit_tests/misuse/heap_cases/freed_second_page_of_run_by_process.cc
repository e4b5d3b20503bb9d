/** The second page of a run, by another process. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_second_page_of_run_by_process, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(250000);
  AtTheCall();
  heap.InProcess([&] { heap.Free(block + kPageBytes); });
}

}  // namespace hshm::misuse
