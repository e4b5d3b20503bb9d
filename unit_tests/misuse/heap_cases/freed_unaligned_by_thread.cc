/** A pointer 8 bytes into a block, by another thread. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_unaligned_by_thread, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(300);
  AtTheCall();
  heap.InThread([&] { heap.Free(block + 8); });
}

}  // namespace hshm::misuse
