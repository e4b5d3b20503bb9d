/** Null. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_null, "NullFree: FreeOffset") {
  Heap heap;
  AtTheCall();
  heap.Free(0);
}

}  // namespace hshm::misuse
