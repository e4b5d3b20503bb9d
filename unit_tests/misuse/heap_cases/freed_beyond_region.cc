/** An offset behind the region. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_beyond_region, "ForeignPointer: Free") {
  Heap heap;
  AtTheCall();
  heap.Free(kRegionBytes + 4096);
}

}  // namespace hshm::misuse
