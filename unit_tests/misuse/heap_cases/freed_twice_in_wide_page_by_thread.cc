/** The same by another thread. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_in_wide_page_by_thread, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(20000);
  heap.Free(block);
  AtTheCall();
  heap.InThread([&] { heap.Free(block); });
}

}  // namespace hshm::misuse
