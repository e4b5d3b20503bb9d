/** An object is deleted twice. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(object_deleted_twice, "DoubleFree: Free") {
  Heap heap;
  const auto object = heap->NewObj<uint64_t>(MemContext(), 7u);
  heap->DelObj(MemContext(), object);
  AtTheCall();
  heap->DelObj(MemContext(), object);
}

}  // namespace hshm::misuse
