/** Behind the last block of a page, all of whose blocks are out: there is no room for another. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_behind_last_block, "InvalidFree: Free") {
  constexpr uint64_t kBytes = 3072;
  constexpr uint64_t kBlocks = kPageBytes / kBytes;
  static_assert(kPageBytes % kBytes != 0);
  Heap heap;
  const Offset page = heap.Allocate(kBytes) / kPageBytes * kPageBytes;
  for (uint64_t i = 1; i < kBlocks; ++i) heap.Allocate(kBytes);
  AtTheCall();
  heap.Free(page + kBlocks * kBytes);
}

}  // namespace hshm::misuse
