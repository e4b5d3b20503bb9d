/** A block in pages of 4 KiB. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(small_pages_freed_twice, "DoubleFree: Free") {
  HeapOf<ipc::CheckedSmallMultiProcessAllocator> heap;
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  AtTheCall();
  heap.Free(block);
}

}  // namespace hshm::misuse
