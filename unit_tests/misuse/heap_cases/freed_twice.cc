/** A small block, freed twice by its thread: it waits on the list of its page. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
