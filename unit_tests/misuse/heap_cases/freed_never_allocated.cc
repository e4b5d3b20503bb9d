/** Where the next block of a page would begin, had anybody asked for it. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_never_allocated, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(1024);
  const Offset last = (block / kPageBytes + 1) * kPageBytes - 1024;
  AtTheCall();
  heap.Free(last);
}

}  // namespace hshm::misuse
