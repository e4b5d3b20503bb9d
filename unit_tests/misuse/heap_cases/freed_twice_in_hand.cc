/** The block waits on the list from which its heap allocates next. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_twice_in_hand, "DoubleFree: Free") {
  Heap heap;
  heap.Allocate(100);
  const Offset one = heap.Allocate(100);
  const Offset two = heap.Allocate(100);
  heap.Free(one);
  heap.Free(two);
  heap->Trim();                             // what was in hand is on the page's list, with the two
  const Offset taken = heap.Allocate(100);  // the list is in hand
  AtTheCall();
  heap.Free(taken == one ? two : one);
}

}  // namespace hshm::misuse
