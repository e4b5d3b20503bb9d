/** Where the second page of a wide page begins, a block lies around it. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_second_page_of_wide_page, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(20000);
  const Offset second = (block / kPageBytes + 1) * kPageBytes;
  for (int i = 0; i < 3; ++i) heap.Allocate(20000);
  AtTheCall();
  heap.Free(second);
}

}  // namespace hshm::misuse
