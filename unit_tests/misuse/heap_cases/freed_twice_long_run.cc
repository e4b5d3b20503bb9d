/** A run of 32 pages, whose pages are free after the first time. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_long_run, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(2000000);
  heap.Free(block);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
