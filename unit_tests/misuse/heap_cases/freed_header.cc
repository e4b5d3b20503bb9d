/** An offset in the headers of the region. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_header, "ForeignPointer: Free") {
  Heap heap;
  AtTheCall();
  heap.Free(4096);
}

}  // namespace hshm::misuse
