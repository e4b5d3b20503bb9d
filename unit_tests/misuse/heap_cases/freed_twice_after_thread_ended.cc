/** The thread that allocated has ended, and the next one has its heap. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_after_thread_ended, "DoubleFree: Free") {
  Heap heap;
  Offset block = 0;
  heap.InThread([&] { block = heap.Allocate(100); });
  heap.InThread([&] { heap.Free(block); });
  AtTheCall();
  heap.InThread([&] { heap.Free(block); });
}

}  // namespace hshm::misuse
