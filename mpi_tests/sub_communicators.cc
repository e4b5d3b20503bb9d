/** Several heaps at once, on communicators that overlap, made in different orders. */
#include <memory>

#include "hermes_shm/mpi/node_heap.h"
#include "support.h"

namespace {

using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;

NodeHeapOptions SmallHeap() {
  NodeHeapOptions options;
  options.capacity_bytes_ = 32_MiB;
  options.custom_header_bytes_ = sizeof(int);
  return options;
}

/** Every rank of the heap sees what its leader writes, and no other heap does. */
void ExpectShared(NodeHeap& heap, int size, int leader_world_rank) {
  MPI_CHECK(heap.node_size() == size);
  int* header = heap->GetCustomHeader<int>();
  int world_rank = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  if (heap.is_leader()) *header = world_rank + 1;
  MPI_Barrier(heap.node_comm());
  MPI_CHECK(*header == leader_world_rank + 1);
}

MPI_Comm Split(int color, int key) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, color, key, &comm);
  return comm;
}

/** Odd ranks make the heap of their half first, even ranks last. */
void TestOverlappingHeaps(const World& world) {
  const int parity = world.rank() % 2;
  const int half_size = (world.size() + 1 - parity) / 2;
  MPI_Comm half = Split(parity, world.rank());
  MPI_Comm reversed = Split(0, -world.rank());

  std::unique_ptr<NodeHeap> early;
  if (parity == 1) early = std::make_unique<NodeHeap>(half, SmallHeap());
  NodeHeap all(MPI_COMM_WORLD, SmallHeap());
  NodeHeap own(MPI_COMM_SELF, SmallHeap());
  NodeHeap backwards(reversed, SmallHeap());
  if (parity == 0) early = std::make_unique<NodeHeap>(half, SmallHeap());

  ExpectShared(all, world.size(), 0);
  ExpectShared(own, 1, world.rank());
  ExpectShared(backwards, world.size(), world.size() - 1);
  ExpectShared(*early, half_size, parity);
  MPI_CHECK(*all->GetCustomHeader<int>() == 1);  // the others did not write there

  const auto block = all->Allocate(HSHM_DEFAULT_MEM_CTX, 100);
  MPI_CHECK(all->Contains(block.ptr_));
  MPI_CHECK(!own->Contains(block.ptr_));
  MPI_CHECK(!backwards->Contains(block.ptr_));
  MPI_CHECK(!(all->GetId() == backwards->GetId()));

  // The heap goes before or after its communicator, and in any order.
  MPI_Comm_free(&half);
  if (parity == 1) early.reset();
  MPI_Comm_free(&reversed);
  backwards.Close();
}

/** A failure in one half is no business of the other. */
void TestFailureInOneHalf(const World& world) {
  MPI_Comm half = Split(world.rank() % 2, world.rank());
  NodeHeapOptions options = SmallHeap();
  if (world.rank() % 2 == 1) options.url_ = "no/name";
  bool is_refused = false;
  try {
    NodeHeap heap(half, options);
    ExpectShared(heap, (world.size() + 1) / 2, 0);
    heap.Close();
  } catch (const hshm::Error& error) {
    is_refused = error.code() == hshm::ErrorCode::kBadName;
  }
  MPI_CHECK(is_refused == (world.rank() % 2 == 1));
  MPI_Comm_free(&half);
}

/** Close() gives the communicators back: MPICH has about 2000 of them. */
void TestManyHeaps() {
  NodeHeapOptions options = SmallHeap();
  options.capacity_bytes_ = 4_MiB;
  for (int i = 0; i < 50; ++i) {
    NodeHeap heap(MPI_COMM_WORLD, options);
    heap.Close();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  const Segments segments;
  TestOverlappingHeaps(world);
  TestFailureInOneHalf(world);
  TestManyHeaps();
  world.Barrier();
  MPI_CHECK(segments.Count() == 0);
  Done(world, "sub_communicators");
}
