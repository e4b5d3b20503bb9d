/** A pointer into a block of a wide page, in its first page. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_inside_wide_page, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(20000);
  AtTheCall();
  heap.Free(block + 4096);
}

}  // namespace hshm::misuse
