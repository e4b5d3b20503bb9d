/** Another thread frees twice: the block waits on the remote list. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_by_thread, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.InThread([&] {
    heap.Free(block);
    AtTheCall();
    heap.Free(block);
  });
}

}  // namespace hshm::misuse
