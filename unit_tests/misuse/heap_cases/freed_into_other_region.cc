/** A block of another heap of the same process. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_into_other_region, "InvalidFree: Free") {
  Heap heap;
  Heap other;
  for (int i = 0; i < 1000; ++i) other.Allocate(1024);
  const Offset block = other.Allocate(300000);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
