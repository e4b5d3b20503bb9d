/**
 * A NodeHeap over several hosts: one segment each, leaders right, nothing shared across.
 *
 *     host_set_up RANKS_OF_HOST0 RANKS_OF_HOST1 ...
 */
#include <numeric>

#include "hermes_shm/mpi/node_heap.h"
#include "hermes_shm/sync/atomic.h"
#include "support.h"

namespace {

using hshm::mpi::HostName;
using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;

struct Header {
  hshm::Atomic<uint32_t> ranks_;  // [any] that have been here
  uint32_t host_;                 // [init]
};

/** Where a rank is expected to be; ranks fill the hosts in their order. */
struct Place {
  Place(const World& world, const std::vector<int>& ranks_of_host) {
    while (world.rank() >= leader_ + ranks_of_host[host_]) leader_ += ranks_of_host[host_++];
    size_ = ranks_of_host[host_];
    hosts_ = static_cast<int>(ranks_of_host.size());
  }
  size_t host_ = 0;
  int leader_ = 0;  // lowest rank on the host
  int size_ = 0;    // ranks on the host
  int hosts_ = 0;
};

void TestRanksAndLeaders(const World& world, const Place& place, const NodeHeap& heap) {
  MPI_CHECK(HostName() == "host" + std::to_string(place.host_));
  MPI_CHECK(heap.node_count() == place.hosts_);
  MPI_CHECK(heap.node_size() == place.size_);
  MPI_CHECK(heap.node_rank() == world.rank() - place.leader_);
  MPI_CHECK(heap.is_leader() == (world.rank() == place.leader_));
  MPI_CHECK((heap.leader_comm() != MPI_COMM_NULL) == heap.is_leader());
  if (!heap.is_leader()) return;
  MPI_CHECK(hshm::mpi::SizeOf(heap.leader_comm()) == place.hosts_);
  MPI_CHECK(hshm::mpi::RankIn(heap.leader_comm()) == static_cast<int>(place.host_));
}

/** What the ranks of a host write is seen by those, and by no others. */
void TestSharedOnTheHostAlone(const World& world, const Place& place, NodeHeap& heap) {
  auto* header = heap->GetCustomHeader<Header>();
  if (heap.is_leader()) header->host_ = static_cast<uint32_t>(place.host_) + 1;
  header->ranks_.fetch_add(1);
  world.Barrier();
  MPI_CHECK(header->ranks_.load() == static_cast<uint32_t>(place.size_));
  MPI_CHECK(header->host_ == place.host_ + 1);
  if (world.rank() == 0) {
    const auto block = heap->Allocate(HSHM_DEFAULT_MEM_CTX, 1000);
    MPI_CHECK(!block.IsNull());
    Fill(block.ptr_, 1000, 42);
    MPI_CHECK(heap->SetRoot("block", block));
  }
  world.Barrier();
  const auto found = heap->FindRoot<char>("block");
  MPI_CHECK(found.IsNull() == (place.host_ != 0));
  MPI_CHECK(found.IsNull() || Verify(found.ptr_, 1000, 42));
}

void TestDefaults(const World& world, const Place& place, const Segments& segments) {
  NodeHeapOptions options;
  options.custom_header_bytes_ = sizeof(Header);
  NodeHeap heap(MPI_COMM_WORLD, options);
  MPI_CHECK(segments.Count() == 0);
  TestRanksAndLeaders(world, place, heap);
  TestSharedOnTheHostAlone(world, place, heap);
}

/** Segments of one name on several hosts are several segments. */
void TestSameNameEverywhere(const World& world, const Place& place, const Segments& segments) {
  NodeHeapOptions options;
  options.url_ = segments.Name("kept");
  options.capacity_bytes_ = 32_MiB;
  options.custom_header_bytes_ = sizeof(Header);
  options.unlink_after_attach_ = false;
  NodeHeap heap(MPI_COMM_WORLD, options);
  MPI_CHECK(segments.Count() == 1);
  TestSharedOnTheHostAlone(world, place, heap);
  world.Barrier();
  if (place.host_ == 0) heap.Close();
  world.Barrier();
  MPI_CHECK(segments.Count() == (place.host_ == 0 ? 0 : 1));
  world.Barrier();
  heap.Close();
  world.Barrier();
  MPI_CHECK(segments.Count() == 0);
}

/** A heap on ranks of several hosts, none of which is the host of rank 0 where that can be. */
void TestUpperHalf(const World& world, const Place& place) {
  MPI_Comm half = MPI_COMM_NULL;
  const int is_upper = world.rank() >= world.size() / 2;
  MPI_Comm_split(MPI_COMM_WORLD, is_upper, world.rank(), &half);
  NodeHeapOptions options;
  options.capacity_bytes_ = 32_MiB;
  NodeHeap heap(half, options);
  int ranks_here = 0;
  MPI_Comm_size(heap.node_comm(), &ranks_here);
  int all_here = ranks_here;
  if (!heap.is_leader()) all_here = 0;
  MPI_Allreduce(MPI_IN_PLACE, &all_here, 1, MPI_INT, MPI_SUM, half);
  MPI_CHECK(all_here == hshm::mpi::SizeOf(half));
  MPI_CHECK(ranks_here <= place.size_);
  heap.Close();
  MPI_Comm_free(&half);
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  const Segments segments;
  std::vector<int> ranks_of_host;
  for (int i = 1; i < argc; ++i) ranks_of_host.push_back(std::atoi(argv[i]));
  const int ranks = std::accumulate(ranks_of_host.begin(), ranks_of_host.end(), 0);
  MPI_CHECK(ranks == world.size());
  const Place place(world, ranks_of_host);
  TestDefaults(world, place, segments);
  TestSameNameEverywhere(world, place, segments);
  TestUpperHalf(world, place);
  world.Barrier();
  MPI_CHECK(segments.Count() == 0);
  Done(world, "host_set_up");
}
