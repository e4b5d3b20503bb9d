#include "team.h"

#include "row_split.h"

namespace spmv {
namespace {

hshm::mpi::NodeHeapOptions HeapOptions(uint64_t heap_bytes) {
  hshm::mpi::NodeHeapOptions options;
  options.capacity_bytes_ = heap_bytes;
  return options;
}

}  // namespace

Team::Team(MPI_Comm all, bool replicated, uint64_t heap_bytes)
    : all_(all), is_replicated_(replicated) {
  Together(all, [&] { heap_.emplace(replicated ? MPI_COMM_SELF : all, HeapOptions(heap_bytes)); });
  int rank = 0;
  MPI_Comm_rank(all, &rank);
  is_first_ = rank == 0;
  NumberNodes(replicated);
  NumberParts();
}

Team::~Team() {
  if (leaders_ != MPI_COMM_NULL) MPI_Comm_free(&leaders_);
  heap_->Close();
}

void Team::NumberNodes(bool replicated) {
  if (IsLeader()) MPI_Comm_dup(replicated ? all_ : heap_->leader_comm(), &leaders_);
  int about[2] = {0, 0};  // number of this node, number of nodes
  if (IsLeader()) {
    MPI_Comm_rank(leaders_, &about[0]);
    MPI_Comm_size(leaders_, &about[1]);
  }
  MPI_Bcast(about, 2, MPI_INT, 0, node());
  node_index_ = static_cast<uint64_t>(about[0]);
  std::vector<int> sizes(static_cast<size_t>(about[1]));
  const int size = heap_->node_size();
  if (IsLeader()) MPI_Allgather(&size, 1, MPI_INT, sizes.data(), 1, MPI_INT, leaders_);
  MPI_Bcast(sizes.data(), about[1], MPI_INT, 0, node());
  node_begins_ = {0};
  for (const int ranks : sizes) {
    node_begins_.push_back(node_begins_.back() + static_cast<uint64_t>(ranks));
  }
}

void Team::NumberParts() {
  const uint32_t mine = heap_->units().node_;
  std::vector<uint32_t> numa_nodes(static_cast<size_t>(heap_->node_size()));
  MPI_Allgather(&mine, 1, MPI_UINT32_T, numa_nodes.data(), 1, MPI_UINT32_T, node());
  part_ = node_begin() + PositionsByNumaNode(numa_nodes)[static_cast<size_t>(heap_->node_rank())];
}

void Team::Exchange(double* data, std::span<const uint64_t> bounds) const {
  NodeBarrier();
  if (nodes() == 1) return;
  if (IsLeader()) {
    std::vector<int> counts;
    std::vector<int> begins;
    for (uint64_t at = 0; at < nodes(); ++at) {  // all below kMaxSide
      begins.push_back(static_cast<int>(bounds[node_begins_[at]]));
      counts.push_back(static_cast<int>(bounds[node_begins_[at + 1]]) - begins.back());
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, counts.data(), begins.data(),
                   MPI_DOUBLE, leaders_);
  }
  NodeBarrier();
}

void Team::ThrowNoRoom(uint64_t count, uint64_t bytes_each) {
  throw std::runtime_error("The heap of " + std::to_string(alloc().GetRegion().size_bytes_ >> 20) +
                           " MiB has no room for " + std::to_string(count) + " numbers of " +
                           std::to_string(bytes_each) + " bytes: give a larger --heap.");
}

}  // namespace spmv
