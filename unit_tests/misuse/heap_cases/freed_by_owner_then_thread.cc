/** Freed by its owner, then by another thread. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_by_owner_then_thread, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  AtTheCall();
  heap.InThread([&] { heap.Free(block); });
}

}  // namespace hshm::misuse
