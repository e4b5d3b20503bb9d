/** Setting a NodeHeap up: what every rank sees of it, and what is left of its name. */
#include <unistd.h>

#include <algorithm>
#include <array>

#include "hermes_shm/mpi/node_heap.h"
#include "hermes_shm/sync/atomic.h"
#include "support.h"

namespace {

using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;
namespace ipc = hshm::ipc;

struct Header {
  hshm::Atomic<uint32_t> ranks_;  // [any] that have been here
};

/** All ranks of this machine are in one heap whose name is gone already. */
void TestDefaults(const World& world, const Segments& segments) {
  NodeHeapOptions options;
  options.custom_header_bytes_ = sizeof(Header);
  NodeHeap heap(MPI_COMM_WORLD, options);
  MPI_CHECK(segments.Count() == 0);
  MPI_CHECK(heap.url().rfind(segments.Name(""), 0) == 0);
  MPI_CHECK(AllSay(heap.url()));
  MPI_CHECK(heap.node_rank() == world.rank());
  MPI_CHECK(heap.node_size() == world.size());
  MPI_CHECK(heap.node_count() == 1);
  MPI_CHECK(heap.is_leader() == (world.rank() == 0));
  MPI_CHECK((heap.leader_comm() != MPI_COMM_NULL) == heap.is_leader());
  MPI_CHECK(heap.backend().IsOwner() == heap.is_leader());
  MPI_CHECK(!heap.allocator()->GetId().IsNull());
  MPI_CHECK(heap.units().local_size_ == static_cast<uint32_t>(world.size()));

  heap->GetCustomHeader<Header>()->ranks_.fetch_add(1);
  MPI_Barrier(heap.node_comm());
  MPI_CHECK(heap->GetCustomHeader<Header>()->ranks_.load() == static_cast<uint32_t>(world.size()));

  if (heap.is_leader()) {
    auto block = heap->Allocate(HSHM_DEFAULT_MEM_CTX, 1000);
    MPI_CHECK(!block.IsNull());
    Fill(block.ptr_, 1000, 42);
    MPI_CHECK(heap->SetRoot("block", block));
  }
  MPI_Barrier(heap.node_comm());
  const auto found = heap->FindRoot<char>("block");
  MPI_CHECK(!found.IsNull());
  MPI_CHECK(Verify(found.ptr_, 1000, 42));
}

/** A heap that keeps its name keeps it until the leader leaves. */
void TestKeptName(const World& world, const Segments& segments) {
  NodeHeapOptions options;
  options.url_ = segments.Name("kept");
  options.capacity_bytes_ = 32_MiB;
  options.alloc_id_ = hshm::ipc::AllocatorId(7, 9);
  options.unlink_after_attach_ = false;
  NodeHeap heap(MPI_COMM_WORLD, options);
  MPI_CHECK(heap.url() == options.url_);
  MPI_CHECK(heap->GetId() == options.alloc_id_);
  MPI_CHECK(heap.backend().size_bytes() == 32_MiB);
  MPI_CHECK(segments.Count() == 1);
  world.Barrier();
  if (!heap.is_leader()) heap.Close();
  world.Barrier();
  MPI_CHECK(segments.Count() == 1);
  world.Barrier();
  heap.Close();
  world.Barrier();
  MPI_CHECK(segments.Count() == 0);
  MPI_CHECK(heap.allocator() == nullptr);
  MPI_CHECK(heap.node_comm() == MPI_COMM_NULL);
}

/** What a NodeHeap says on stderr while it is set up with these options. */
std::string SaidDuringSetUp(const NodeHeapOptions& options, ipc::UnitChoice* units) {
  std::FILE* said = std::tmpfile();
  MPI_CHECK(said != nullptr);
  std::fflush(stderr);
  const int former = dup(STDERR_FILENO);
  dup2(fileno(said), STDERR_FILENO);
  {
    NodeHeap heap(MPI_COMM_WORLD, options);
    *units = heap.units();
    heap.Close();
  }
  std::fflush(stderr);
  dup2(former, STDERR_FILENO);
  close(former);
  std::rewind(said);
  std::array<char, 4096> text{};
  const size_t length = std::fread(text.data(), 1, text.size(), said);
  std::fclose(said);
  return std::string(text.data(), length);
}

/** On a simulated machine of 4 nodes the ranks spread by their numbers, and say so when asked. */
void TestUnits(const World& world) {
  setenv("HWLOC_SYNTHETIC", "node:4 core:2 pu:1", 1);
  unsetenv("HSHM_VERBOSE");
  NodeHeapOptions options;
  options.capacity_bytes_ = 64_MiB;
  ipc::UnitChoice units;
  MPI_CHECK(SaidDuringSetUp(options, &units).find("process unit") == std::string::npos);
#if HSHM_HAVE_HWLOC
  const uint32_t node_count = 4;
#else
  const uint32_t node_count = 1;
#endif
  const auto ranks = static_cast<uint32_t>(world.size());
  const uint32_t node = node_count * static_cast<uint32_t>(world.rank()) / ranks;
  MPI_CHECK(units.node_ == node);
  MPI_CHECK(units.ranks_on_node_ == std::max(ranks / node_count, 1u));  // 8 ranks: 2 a node
  MPI_CHECK(units.options_.numa_node_ == (node_count > 1 ? node : ipc::kAnyNode));

  setenv("HSHM_VERBOSE", "1", 1);
  const std::string said = SaidDuringSetUp(options, &units);
  options.is_placed_ = false;
  const std::string said_without = SaidDuringSetUp(options, &units);
  MPI_CHECK(units.options_.numa_node_ == ipc::kAnyNode);
  unsetenv("HSHM_VERBOSE");
  unsetenv("HWLOC_SYNTHETIC");
  const std::string expected = "rank " + std::to_string(world.rank()) + " of " +
                               std::to_string(world.size()) + ": node " + std::to_string(node) +
                               " of " + std::to_string(node_count);
  MPI_CHECK(said.find(expected) != std::string::npos);
  // A machine that is not there places nothing, and the line says so.
  const bool is_told =
      said.find(" not placed on node " + std::to_string(node)) != std::string::npos;
  MPI_CHECK(is_told == (node_count > 1));
  MPI_CHECK(said_without.find("placed") == std::string::npos);
}

/** Ranks that name a node know of each other: all of them on node 0, or the first alone on 3. */
void TestNamedNodes(const World& world) {
#if HSHM_HAVE_HWLOC
  setenv("HWLOC_SYNTHETIC", "node:4 core:2 pu:1", 1);
  const auto ranks = static_cast<uint32_t>(world.size());
  NodeHeapOptions options;
  options.capacity_bytes_ = 64_MiB;
  options.numa_node_ = 0;
  options.is_verbose_ = true;
  ipc::UnitChoice units;
  const std::string said = SaidDuringSetUp(options, &units);
  MPI_CHECK(said.find(": node 0 of 4 (as asked), ") != std::string::npos);
  MPI_CHECK(units.node_ == 0);
  MPI_CHECK(units.ranks_on_node_ == ranks);

  options.numa_node_ = world.rank() == 0 ? 3 : 0;
  options.is_verbose_ = false;
  static_cast<void>(SaidDuringSetUp(options, &units));
  unsetenv("HWLOC_SYNTHETIC");
  MPI_CHECK(units.node_ == options.numa_node_);
  MPI_CHECK(units.ranks_on_node_ == (world.rank() == 0 ? 1 : ranks - 1));
  // 56 MiB on two nodes: no rank has more than its share of the whole, or of its node.
  const uint64_t share = 56_MiB / std::max(ranks, 2 * units.ranks_on_node_);
  MPI_CHECK(units.options_.process_unit_bytes_ <= share);
  MPI_CHECK(units.options_.process_unit_bytes_ > share / 2);
#else
  static_cast<void>(world);  // one node, which every rank gets
#endif
}

}  // namespace

int main(int argc, char** argv) {
  const World world(&argc, &argv);
  const Segments segments;
  TestDefaults(world, segments);
  TestKeptName(world, segments);
  TestUnits(world);
  TestNamedNodes(world);
  MPI_CHECK(segments.Count() == 0);
  Done(world, "node_heap_set_up");
}
