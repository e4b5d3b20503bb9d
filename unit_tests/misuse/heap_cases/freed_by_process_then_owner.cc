/** Another process frees and is gone, then the owner does. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_by_process_then_owner, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.InProcess([&] { heap.Free(block); });
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
