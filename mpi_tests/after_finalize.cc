/**
 * Heaps that outlive MPI_Finalize: destroyed or closed afterwards, used between. None is set up
 * before MPI_Init or after MPI_Finalize.
 */
#include <optional>
#include <string_view>

#include "hermes_shm/mpi/node_heap.h"
#include "support.h"

namespace {

using hshm::mpi::NodeHeap;
using hshm::mpi::NodeHeapOptions;
using namespace mpi_test;

std::optional<NodeHeap> destroyed_at_exit;

/** Without MPI: a rank alone can still use the heap. */
void Use(NodeHeap& heap) {
  const auto block = heap->Allocate(HSHM_DEFAULT_MEM_CTX, 1000);
  if (block.IsNull()) std::abort();
  heap->Free(HSHM_DEFAULT_MEM_CTX, block);
}

/** Neither World nor Fail is there to help: MPI is not running. */
void ExpectRefused(const char* when) {
  const char* said = "nothing";
  try {
    const NodeHeap heap(MPI_COMM_WORLD);
  } catch (const hshm::Error& error) {
    const bool is_told =
        std::string_view(error.what()).find("MPI is not running") != std::string_view::npos;
    if (error.code() == hshm::ErrorCode::kUnsupported && is_told) return;
    said = hshm::ErrorCodeName(error.code());
  }
  std::fprintf(stderr, "after_finalize: %s a heap was asked for, and %s was thrown\n", when, said);
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  ExpectRefused("before MPI_Init");
  std::optional<World> world(std::in_place, &argc, &argv);
  const Segments segments;
  NodeHeapOptions options;
  options.capacity_bytes_ = 32_MiB;
  destroyed_at_exit.emplace(MPI_COMM_WORLD, options);
  options.unlink_after_attach_ = false;
  options.url_ = segments.Name("after");
  NodeHeap closed_late(MPI_COMM_WORLD, options);
  NodeHeap destroyed_late(MPI_COMM_WORLD);
  const bool is_leader = closed_late.is_leader();
  Done(*world, "after_finalize");
  world.reset();

  ExpectRefused("after MPI_Finalize");
  Use(*destroyed_at_exit);
  Use(closed_late);
  Use(destroyed_late);
  closed_late.Close();
  closed_late.Close();
  if (is_leader && segments.Count() != 0) {
    std::fprintf(stderr, "after_finalize: a segment is left in %s\n",
                 hshm::SharedMemoryDirectory().c_str());
    return 1;
  }
}
