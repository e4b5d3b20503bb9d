/** The page of a freed block serves another size when it is freed again. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_where_other_size_is, "InvalidFree: Free") {
  Heap heap;
  std::vector<Offset> small;
  for (int i = 0; i < 4096; ++i) small.push_back(heap.Allocate(48));
  for (const Offset block : small) heap.Free(block);
  heap->Trim();
  for (int i = 0; i < 4096; ++i) heap.Allocate(64);
  AtTheCall();
  for (const Offset block : small) {
    if (block % 64 != 0) heap.Free(block);
  }
}

}  // namespace hshm::misuse
