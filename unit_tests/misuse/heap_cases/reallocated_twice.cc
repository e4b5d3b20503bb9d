/** The old block is reallocated again. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(reallocated_twice, "DoubleFree: Reallocate") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  if (heap.Reallocate(block, 5000) == block) _exit(3);
  AtTheCall();
  heap.Reallocate(block, 5000);
}

}  // namespace hshm::misuse
