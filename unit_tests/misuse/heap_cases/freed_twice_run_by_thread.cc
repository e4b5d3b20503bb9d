/** A run that another thread freed. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_run_by_thread, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(250000);
  heap.InThread([&] { heap.Free(block); });
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
