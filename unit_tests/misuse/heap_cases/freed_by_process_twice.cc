/** Another process frees twice. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_by_process_twice, "DoubleFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.InProcess([&] {
    heap.Free(block);
    AtTheCall();
    heap.Free(block);
  });
}

}  // namespace hshm::misuse
