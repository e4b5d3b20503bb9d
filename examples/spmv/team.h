#ifndef HSHM_EXAMPLES_SPMV_TEAM_H_
#define HSHM_EXAMPLES_SPMV_TEAM_H_

#include <mpi.h>

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "agree.h"
#include "hermes_shm/mpi/node_heap.h"

namespace spmv {

/**
 * The ranks of the job and the heap of each node. Every rank has a part of the rows; the parts
 * stand in the order of the nodes, on a node in that of the ranks' NUMA nodes.
 */
class Team {
 public:
  /** Collective. When replicated, each rank has a heap of its own, as if it were alone on its node,
   * and the whole matrix in it. @throws Failure */
  Team(MPI_Comm all, bool replicated, uint64_t heap_bytes);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  MPI_Comm all() const { return all_; }
  MPI_Comm node() const { return heap_->node_comm(); }
  hshm::mpi::NodeHeap& heap() { return *heap_; }
  hipc::MultiProcessAllocator& alloc() { return *heap_->allocator(); }
  bool IsLeader() const { return heap_->is_leader(); }
  bool IsReplicated() const { return is_replicated_; }
  bool IsFirst() const { return is_first_; }  // rank 0 of all

  uint64_t part() const { return part_; }
  uint64_t parts() const { return node_begins_.back(); }
  /** The parts of this node are node_begin() to node_end() - 1. */
  uint64_t node_begin() const { return node_begins_[node_index_]; }
  uint64_t node_end() const { return node_begins_[node_index_ + 1]; }
  uint64_t nodes() const { return node_begins_.size() - 1; }

  void NodeBarrier() const { MPI_Barrier(node()); }

  /**
   * Collective: after it each rank finds in the node's array `data` what the others wrote. Part p
   * wrote the elements bounds[p] to bounds[p + 1] - 1. On one node that is a barrier; between nodes
   * the leaders send each other what their nodes wrote.
   */
  void Exchange(double* data, std::span<const uint64_t> bounds) const;

  /** Collective: an array for all ranks of the node, not initialised. @throws Failure */
  template <typename T>
  std::span<T> MakeShared(const char* name, uint64_t count) {
    Together(all_, [&] {
      if (!IsLeader()) return;
      const hipc::FullPtr<T> made = Allocate<T>(count);
      if (!alloc().SetRoot(name, made)) {
        throw std::runtime_error("The heap has no place for one more name.");
      }
    });
    return {alloc().FindRoot<T>(name).ptr_, count};
  }

  /** Collective on the node: nobody may use the array any more. */
  template <typename T>
  void FreeShared(const char* name) {
    NodeBarrier();
    if (!IsLeader()) return;
    const hipc::FullPtr<T> made = alloc().FindRoot<T>(name);
    alloc().SetRoot(name, hipc::FullPtr<T>());
    alloc().Free(HSHM_DEFAULT_MEM_CTX, made);
  }

  /** From the calling rank's units, so on its NUMA node. @throws std::runtime_error: no room */
  template <typename T>
  hipc::FullPtr<T> Allocate(uint64_t count) {
    const auto made = alloc().AllocateObjs<T>(HSHM_DEFAULT_MEM_CTX, count == 0 ? 1 : count);
    if (made.IsNull()) ThrowNoRoom(count, sizeof(T));
    return made;
  }

 private:
  [[noreturn]] void ThrowNoRoom(uint64_t count, uint64_t bytes_each);
  void NumberNodes(bool replicated);
  void NumberParts();

  MPI_Comm all_;
  std::optional<hshm::mpi::NodeHeap> heap_;
  MPI_Comm leaders_ = MPI_COMM_NULL;   // one rank of each node, in the order of the nodes
  uint64_t node_index_ = 0;            // of this node among the leaders
  std::vector<uint64_t> node_begins_;  // first part of each node, and behind the last
  uint64_t part_ = 0;
  bool is_replicated_;
  bool is_first_ = false;
};

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_TEAM_H_
