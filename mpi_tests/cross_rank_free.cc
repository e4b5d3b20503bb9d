/** Every rank frees what its neighbour allocated; afterwards as much lives as before. */
#include <algorithm>
#include <random>

#include "hermes_shm/mpi/node_heap.h"
#include "support.h"

namespace {

using hshm::ipc::OffsetPtr;
using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;

constexpr int kRounds = 30;
constexpr size_t kBlocks = 300;

/** A block as one rank tells it to another. */
struct Message {
  uint64_t offset_;
  uint64_t size_bytes_;
  uint64_t tag_;
};

/** Mostly small, now and then large enough to take pages of its own. */
size_t DrawSize(std::mt19937& random) {
  const size_t limit = random() % 50 == 0 ? 200'000 : 2'000;
  return random() % limit;
}

std::vector<Message> AllocateBlocks(NodeHeap& heap, std::mt19937& random) {
  std::vector<Message> messages;
  for (size_t i = 0; i < kBlocks; ++i) {
    const size_t size_bytes = DrawSize(random);
    const auto block = heap->Allocate(HSHM_DEFAULT_MEM_CTX, size_bytes);
    MPI_CHECK(!block.IsNull());
    const uint64_t tag = random();
    Fill(block.ptr_, size_bytes, tag);
    messages.push_back({block.shm_.off_.load(), size_bytes, tag});
  }
  return messages;
}

/** Frees in another order than the blocks were made in. */
void FreeBlocks(NodeHeap& heap, std::vector<Message> messages, std::mt19937& random) {
  std::shuffle(messages.begin(), messages.end(), random);
  for (const Message& message : messages) {
    const OffsetPtr<char> offset(message.offset_);
    MPI_CHECK(heap->Contains(offset));
    MPI_CHECK(Verify(heap->Convert(offset), message.size_bytes_, message.tag_));
    heap->Free(HSHM_DEFAULT_MEM_CTX, offset);
  }
}

std::vector<Message> ExchangeWithNeighbours(const World& world, std::vector<Message> messages) {
  const int bytes = static_cast<int>(messages.size() * sizeof(Message));
  MPI_Sendrecv_replace(messages.data(), bytes, MPI_BYTE, world.next(), 0, world.previous(), 0,
                       MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  return messages;
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  const Segments segments;
  const uint32_t seed = argc > 1 ? std::atoi(argv[1]) : std::random_device()();
  std::printf("rank %d: seed %u\n", world.rank(), seed);
  std::mt19937 random(seed);

  NodeHeapOptions options;
  options.capacity_bytes_ = 512_MiB;
  NodeHeap heap(MPI_COMM_WORLD, options);
  const size_t live_before = heap->GetCurrentlyAllocatedSize();
  world.Barrier();
  for (int round = 0; round < kRounds; ++round) {
    FreeBlocks(heap, ExchangeWithNeighbours(world, AllocateBlocks(heap, random)), random);
  }
  world.Barrier();
  MPI_CHECK(heap->GetCurrentlyAllocatedSize() == live_before);
  if (world.rank() == 0) MPI_CHECK(heap->Check());
  world.Barrier();
  MPI_CHECK(segments.Count() == 0);
  Done(world, "cross_rank_free");
}
