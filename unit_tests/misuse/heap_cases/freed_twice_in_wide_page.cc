/** A block of 20,000 bytes, in a page of eight. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_in_wide_page, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(20000);
  heap.Allocate(20000);
  heap.Free(block);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
