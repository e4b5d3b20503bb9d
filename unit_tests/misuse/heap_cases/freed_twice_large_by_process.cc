/** A block of the root that another process freed. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_large_by_process, "DoubleFree: Free") {
  Heap heap(1 << 20);
  const Offset block = heap.Allocate(5 << 20);
  heap.InProcess([&] { heap.Free(block); });
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
