/** Ranks leave the heap one after the other; what they allocated stays for the others. */
#include "hermes_shm/mpi/node_heap.h"
#include "support.h"

namespace {

using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;

constexpr size_t kBlocks = 50;
constexpr size_t kBlockBytes = 3000;

std::vector<uint64_t> AllocateBlocks(NodeHeap& heap, uint64_t tag) {
  std::vector<uint64_t> offsets;
  for (size_t i = 0; i < kBlocks; ++i) {
    const auto block = heap->Allocate(HSHM_DEFAULT_MEM_CTX, kBlockBytes);
    MPI_CHECK(!block.IsNull());
    Fill(block.ptr_, kBlockBytes, tag + i);
    offsets.push_back(block.shm_.off_.load());
  }
  return offsets;
}

void VerifyAndFree(NodeHeap& heap, const std::vector<uint64_t>& offsets, uint64_t tag) {
  for (size_t i = 0; i < offsets.size(); ++i) {
    const hshm::ipc::OffsetPtr<char> offset(offsets[i]);
    MPI_CHECK(Verify(heap->Convert(offset), kBlockBytes, tag + i));
    heap->Free(HSHM_DEFAULT_MEM_CTX, offset);
  }
}

/**
 * Rank leaving[i] leaves in turn i. It hands its blocks to the one that leaves next, which reads
 * and frees them when their maker has gone, and then makes its own.
 */
void LeaveInOrder(const World& world, const std::vector<int>& leaving) {
  NodeHeapOptions options;
  options.capacity_bytes_ = 64_MiB;
  NodeHeap heap(MPI_COMM_WORLD, options);
  std::vector<uint64_t> offsets(kBlocks);
  const auto blocks_of = [](int rank) { return static_cast<uint64_t>(rank) * 1000; };
  for (size_t turn = 0; turn < leaving.size(); ++turn) {
    const int rank = leaving[turn];
    if (rank == world.rank()) {
      if (turn > 0) VerifyAndFree(heap, offsets, blocks_of(leaving[turn - 1]));
      offsets = AllocateBlocks(heap, blocks_of(rank));
      heap.Close();
    }
    MPI_Bcast(offsets.data(), kBlocks, MPI_UINT64_T, rank, MPI_COMM_WORLD);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  const Segments segments;
  std::vector<int> leader_first;
  for (int rank = 0; rank < world.size(); ++rank) leader_first.push_back(rank);
  LeaveInOrder(world, leader_first);
  const std::vector<int> leader_last(leader_first.rbegin(), leader_first.rend());
  LeaveInOrder(world, leader_last);
  MPI_CHECK(segments.Count() == 0);
  Done(world, "detach_order");
}
