/** A run of four pages, which stays with its heap. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_run, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(250000);
  heap.Free(block);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
