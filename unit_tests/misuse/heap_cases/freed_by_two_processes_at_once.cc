/** Two processes free each of many blocks at the same time: one of the two is stopped, always. */
#include "misuse/heap.h"

namespace hshm::misuse {

HSHM_MISUSE(freed_by_two_processes_at_once, "DoubleFree: Free") {
  Heap heap;
  AtTheCall();
  for (int round = 0; round < 20; ++round) {
    const Offset block = heap.Allocate(100);
    int gate[2];
    if (pipe(gate) != 0) _exit(3);
    const auto free_at_gate = [&] {
      char byte = 0;
      heap.Free(heap.Allocate(100));  // has joined
      close(gate[1]);
      static_cast<void>(!read(gate[0], &byte, 1));
      heap.Free(block);
    };
    const pid_t one = heap.StartProcess(free_at_gate);
    const pid_t other = heap.StartProcess(free_at_gate);
    close(gate[0]);
    close(gate[1]);
    const int stopped = (WTERMSIG(heap.Status(one)) == SIGABRT ? 1 : 0) +
                        (WTERMSIG(heap.Status(other)) == SIGABRT ? 1 : 0);
    if (stopped != 1) _exit(4);
  }
  heap.Stop();
}

}  // namespace hshm::misuse
