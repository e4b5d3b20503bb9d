/** A block of a ThreadLocalAllocator. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(thread_local_freed_twice, "DoubleFree: Free") {
  HeapOf<ipc::CheckedThreadLocalAllocator> heap;
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
