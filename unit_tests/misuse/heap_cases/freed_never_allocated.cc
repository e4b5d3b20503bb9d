/** Where the page's last block will begin, once somebody asks for it. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_never_allocated, "InvalidFree: Free") {
  Heap heap;
  const Offset block = heap.Allocate(1024);
  // Pages are carved from somewhere in them to their end, and then from their beginning: what lies
  // before the first block comes last. Of a page whose first block is its first, that is the end.
  const Offset page = block / kPageBytes * kPageBytes;
  const Offset last = block == page ? page + kPageBytes - 1024 : block - 1024;
  AtTheCall();
  heap.Free(last);
}

}  // namespace hshm::misuse
