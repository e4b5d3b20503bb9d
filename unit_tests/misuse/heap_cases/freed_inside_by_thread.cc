/** The same by another thread. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_inside_by_thread, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(300);
  AtTheCall();
  heap.InThread([&] { heap.Free(block + 16); });
}

}  // namespace hshm::misuse
