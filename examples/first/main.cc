#include <mpi.h>

#include <cstdio>

#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/mpi/node_heap.h"

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  hshm::mpi::NodeHeap heap(MPI_COMM_WORLD);  // one heap for the ranks of this node
  hipc::unordered_map<int, int, hipc::MultiProcessAllocator> squares;
  if (heap.is_leader()) {
    squares.shm_init(heap.allocator());
    heap->SetRoot("squares", squares.offset());
  }
  MPI_Barrier(heap.node_comm());
  if (!heap.is_leader()) squares.shm_attach(heap.allocator(), heap->FindRootOffset("squares"));

  const int me = heap.node_rank();
  squares.insert(me, me * me);  // allocates a node of the map, in this rank's own pages
  MPI_Barrier(heap.node_comm());
  const int next = (me + 1) % heap.node_size();
  std::printf("rank %d: %d * %d = %d\n", me, next, next, squares.find(next).value());
  squares.erase(next);  // frees what the next rank allocated
  MPI_Finalize();
}
