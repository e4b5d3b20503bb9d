/** A block of a dead process whose memory was deleted. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_after_reclaim, "InvalidFree: Free") {
  Heap heap;
  int ends[2];
  if (pipe(ends) != 0) _exit(3);
  struct {
    Offset block;
    uint32_t slot;
    uint32_t generation;
  } told{};
  const pid_t child = heap.StartProcess([&] {
    told.block = heap.Allocate(100);
    told.slot = heap->GetMembership().slot();
    told.generation = heap->GetMembership().generation();
    if (write(ends[1], &told, sizeof(told)) != sizeof(told)) _exit(3);
    raise(SIGKILL);
  });
  if (read(ends[0], &told, sizeof(told)) != sizeof(told)) _exit(3);
  heap.Status(child);
  if (!heap->Reclaim(told.slot, told.generation)) _exit(3);
  AtTheCall();
  heap.Free(told.block);
}

}  // namespace hshm::misuse
