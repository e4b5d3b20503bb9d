/** A write over the end of a block into its freed neighbour. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(written_over_end, "Corruption: the link of a free block") {
  Heap heap;
  const Offset block = heap.Allocate(112);
  const Offset neighbour = heap.Allocate(112);
  if (neighbour != block + 112) _exit(3);
  heap.Free(neighbour);
  std::memset(heap.At(block), 'x', 120);
  AtTheCall();
  heap.AllocateMany(112);
}

}  // namespace hshm::misuse
