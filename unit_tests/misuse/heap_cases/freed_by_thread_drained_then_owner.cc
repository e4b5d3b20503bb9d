/** Freed by another thread, drained, and freed by its owner. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_by_thread_drained_then_owner, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.Allocate(100);  // the page stays
  heap.InThread([&] { heap.Free(block); });
  heap->Trim();
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
