/** Freed by another thread, and by its owner before that drains the page. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_by_thread_then_owner, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.InThread([&] { heap.Free(block); });
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
