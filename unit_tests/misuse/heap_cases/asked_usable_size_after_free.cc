/** The size of a freed block. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(asked_usable_size_after_free, "DoubleFree: GetUsableSize") {
  Heap heap;
  const Offset block = heap.Allocate(100);
  heap.Free(block);
  AtTheCall();
  static_cast<void>(heap->GetUsableSize(OffsetPtr<>(block)));
}

}  // namespace hshm::misuse
