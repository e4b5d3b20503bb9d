/** The second page of a block of the root, where small blocks were before. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_second_page_of_large, "InvalidFree: Free") {
  Heap heap(1 << 20);
  std::vector<Offset> small;
  for (int i = 0; i < 4000; ++i) small.push_back(heap.Allocate(1024));
  for (const Offset block : small) heap.Free(block);
  heap->Trim();
  heap->Trim();
  const Offset large = heap.Allocate(50 << 20);
  AtTheCall();
  heap.Free(large + kPageBytes);
}

}  // namespace hshm::misuse
