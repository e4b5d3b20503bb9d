/**
 * A job that killed_jobs.py kills: killed_job URL named|unlinked FOLDER ROUNDS. Its ranks free what
 * their neighbours allocated, for so many rounds. Each rank leaves its number as FOLDER/pid.N at
 * once, and the leader FOLDER/ready when all are in the heap.
 */
#include <fstream>
#include <random>

#include "hermes_shm/mpi/node_heap.h"
#include "support.h"

namespace {

using hshm::ipc::OffsetPtr;
using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;

/** One block each way around the ring, of a size that differs from round to round. */
void Exchange(const World& world, NodeHeap& heap, std::mt19937& random) {
  const auto block = heap->Allocate(HSHM_DEFAULT_MEM_CTX, random() % 20'000 + 8);
  MPI_CHECK(!block.IsNull());
  *reinterpret_cast<uint64_t*>(block.ptr_) = block.shm_.off_.load();
  uint64_t offset = block.shm_.off_.load();
  MPI_Sendrecv_replace(&offset, sizeof(offset), MPI_BYTE, world.next(), 0, world.previous(), 0,
                       MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  const OffsetPtr<char> other(offset);
  MPI_CHECK(*reinterpret_cast<uint64_t*>(heap->Convert(other)) == offset);
  heap->Free(HSHM_DEFAULT_MEM_CTX, other);
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  MPI_CHECK(argc == 5);
  const std::string folder = argv[3];
  std::ofstream(folder + "/pid." + std::to_string(hshm::ProcessId()));
  NodeHeapOptions options;
  options.url_ = argv[1];
  options.unlink_after_attach_ = std::string(argv[2]) == "unlinked";
  options.capacity_bytes_ = 64_MiB;
  NodeHeap heap(MPI_COMM_WORLD, options);
  std::mt19937 random(static_cast<unsigned>(world.rank()));
  world.Barrier();
  if (world.rank() == 0) std::ofstream(folder + "/ready");
  const long rounds = std::atol(argv[4]);
  for (long round = 0; round < rounds; ++round) Exchange(world, heap, random);
  world.Barrier();
  if (world.rank() == 0) {
    MPI_CHECK(heap->Check());
    std::printf("killed_job: finished on %d ranks\n", world.size());
  }
  world.Barrier();
  return 0;
}
