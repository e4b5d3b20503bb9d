/** The page of the block is the root's again when it is freed once more. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_after_unit_went, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  heap->Trim();
  heap->Trim();
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
