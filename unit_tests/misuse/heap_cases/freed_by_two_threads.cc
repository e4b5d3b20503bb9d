/** Two other threads free, one after the other. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_by_two_threads, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.InThread([&] { heap.Free(block); });
  AtTheCall();
  heap.InThread([&] { heap.Free(block); });
}

}  // namespace hshm::misuse
