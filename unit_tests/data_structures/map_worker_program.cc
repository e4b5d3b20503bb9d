#include <cstdlib>

#include "data_structures/map_worker.h"
#include "data_structures/shared_segment.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"

/** map_worker URL WORKER STEPS: exits 0 when the map gave the right answers. */
int main(int argc, char** argv) {
  using hshm::ipc::StackAllocator;
  if (argc != 4) return 2;
  const hshm::test::AttachedSegment<StackAllocator> segment(argv[1]);
  hshm::test::MapWorker<StackAllocator> worker(segment.alloc(),
                                               std::strtoull(argv[2], nullptr, 10));
  return worker.Run(std::strtoull(argv[3], nullptr, 10)) ? 0 : 1;
}
