/** A pointer to a variable. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_stack, "ForeignPointer: Free") {
  Heap heap;
  int variable = 0;
  AtTheCall();
  heap.Free(static_cast<Offset>(reinterpret_cast<char*>(&variable) - heap.At(0)));
}

}  // namespace hshm::misuse
