/** The last of several hosts has a /dev/shm of 64 MiB: what becomes of a heap that all ask for. */
#include "hermes_shm/mpi/node_heap.h"
#include "support.h"

namespace {

using hshm::Error;
using hshm::ErrorCode;
using hshm::mpi::HostName;
using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;

/** The last rank says what its host is called, and which its lowest rank is. */
struct SmallHost {
  explicit SmallHost(const World& world) {
    MPI_Comm reversed = MPI_COMM_NULL;  // in which the last rank is rank 0
    MPI_Comm_split(MPI_COMM_WORLD, 0, -world.rank(), &reversed);
    name_ = FromRank0(HostName(), reversed);
    MPI_Comm_free(&reversed);
    int first = HostName() == name_ ? world.rank() : world.size();
    MPI_Allreduce(&first, &leader_, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  }
  bool IsHere() const { return HostName() == name_; }

  std::string name_;
  int leader_ = 0;
};

/** More than the small host has: NoSpace on all ranks, with that host's name, nothing left. */
void TestAskForTooMuch(const World& world, const Segments& segments, const SmallHost& small) {
  NodeHeapOptions options;
  options.url_ = segments.Name("large");
  options.capacity_bytes_ = 128_MiB;
  options.unlink_after_attach_ = false;
  std::string text;
  try {
    NodeHeap heap(MPI_COMM_WORLD, options);
  } catch (const Error& error) {
    MPI_CHECK(error.code() == ErrorCode::kNoSpace);
    text = error.what();
  }
  const std::string start = "hshm: NoSpace: rank " + std::to_string(small.leader_) + " of " +
                            std::to_string(world.size()) + " on host " + small.name_ + ": ";
  if (text.rfind(start, 0) != 0) {
    Fail(__FILE__, __LINE__, "expected '" + start + "...', got '" + text + "'");
  }
  MPI_CHECK(text.find("/dev/shm") != std::string::npos);
  MPI_CHECK(AllSay(text));
  MPI_CHECK(segments.Count() == 0);
  world.Barrier();
}

/** By default each host has a heap that fits it, and one that is full disturbs no other. */
void TestDefaultFitsEachHost(const World& world, const SmallHost& small) {
  constexpr uint64_t kBlockBytes = 1_MiB;
  NodeHeap heap(MPI_COMM_WORLD);
  MPI_CHECK((heap.backend().size_bytes() <= 32_MiB) == small.IsHere());
  uint64_t mine_bytes = 0;
  while (mine_bytes < 128_MiB) {
    const auto block = heap->Allocate(HSHM_DEFAULT_MEM_CTX, kBlockBytes);
    if (block.IsNull()) break;
    Fill(block.ptr_, kBlockBytes, mine_bytes);
    mine_bytes += kBlockBytes;
  }
  uint64_t node_bytes = 0;
  MPI_Allreduce(&mine_bytes, &node_bytes, 1, MPI_UINT64_T, MPI_SUM, heap.node_comm());
  MPI_CHECK((mine_bytes == 128_MiB) != small.IsHere());
  MPI_CHECK(!small.IsHere() || (node_bytes > 16_MiB && node_bytes < 32_MiB));
  world.Barrier();
  heap.Close();
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  const Segments segments;
  const SmallHost small(world);
  TestAskForTooMuch(world, segments, small);
  TestDefaultFitsEachHost(world, small);
  TestAskForTooMuch(world, segments, small);
  MPI_CHECK(segments.Count() == 0);
  Done(world, "host_no_space");
}
