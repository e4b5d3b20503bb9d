#ifndef HSHM_MPI_NODE_HEAP_H_
#define HSHM_MPI_NODE_HEAP_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/allocator/auto_units.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/mpi/agreement.h"
#include "hermes_shm/mpi/communicators.h"
#include "hermes_shm/mpi/mpi_c.h"
#include "hermes_shm/mpi/node_heap_backend.h"
#include "hermes_shm/mpi/node_heap_options.h"
#include "hermes_shm/mpi/segment_announcement.h"
#include "hermes_shm/platform/shared_memory.h"
#include "hermes_shm/platform/topology.h"

namespace hshm::mpi {

/**
 * One heap for all ranks of a communicator that are on the same node:
 *
 *     hshm::mpi::NodeHeap heap(MPI_COMM_WORLD);
 *     auto block = heap->Allocate(HSHM_DEFAULT_MEM_CTX, 1024);  // any rank here may free it
 *
 * On each node the lowest rank, the leader, creates segment and allocator; the others attach. Needs
 * MPI_THREAD_SINGLE only. A program may have several, on any communicators.
 *
 * Destruction makes no MPI call, so a heap may outlive MPI_Finalize; living blocks stay for the
 * other ranks. A program that makes many heaps calls Close(), for MPI has few communicators.
 * Neither copied nor moved; std::optional and std::list hold one.
 */
class NodeHeap {
 public:
  /**
   * Collective on comm. What fails on one rank fails on all with the same Error, which names the
   * first rank that failed; then no rank has anything of the heap, and its segment is gone.
   * @throws Error what creating, attaching and making the allocator throw; kNotFound also when the
   *   ranks of a node see different shared-memory directories; kUnsupported, kOutOfRange when comm
   *   is no intracommunicator of a running MPI
   */
  explicit NodeHeap(MPI_Comm comm, const NodeHeapOptions& options = {});
  ~NodeHeap() { End(); }
  NodeHeap(const NodeHeap&) = delete;
  NodeHeap& operator=(const NodeHeap&) = delete;

  /** Null after Close(). */
  ipc::MultiProcessAllocator* allocator() const { return allocator_; }
  ipc::MultiProcessAllocator* operator->() const { return allocator_; }
  /** A PosixShmMmap, or a PosixMmap when the heap lies in a file. */
  ipc::MemoryBackend& backend() { return *backend_; }

  /** The ranks of this node, leader first. Belongs to the heap: duplicate it for long use. */
  MPI_Comm node_comm() const { return comms_.node(); }
  /** The leaders of all nodes; MPI_COMM_NULL on the other ranks. */
  MPI_Comm leader_comm() const { return comms_.leaders(); }
  int node_rank() const { return node_rank_; }
  int node_size() const { return node_size_; }
  bool is_leader() const { return node_rank_ == 0; }
  /** Nodes that have ranks in the communicator. */
  int node_count() const { return node_count_; }

  /** The segment's name, the file's path, or where the leader has a segment without a name. After
   * unlinking nothing is there any more. */
  const std::string& url() const { return url_; }
  /** This rank's NUMA node and units. */
  const ipc::UnitChoice& units() const { return units_; }

  /**
   * What the destructor does, and frees the communicators. Every rank calls it, as for
   * MPI_Comm_free. Repeatable; after MPI_Finalize it makes no MPI call.
   */
  void Close() noexcept {
    End();
    comms_.Free();
  }

 private:
  /** What the ranks of a node know of each other before there is a segment. */
  struct Facts {
    const NodeHeapOptions& options_;
    Topology topology_;                  // as this rank sees it
    std::vector<NodeSet> usable_nodes_;  // of each rank of the node, see NodesFor
  };

  Failure SetUp(MPI_Comm whole, const NodeHeapOptions& options);
  void Create(const Facts& facts, SegmentAnnouncement* announcement);
  bool Reopen(const Facts& facts);
  void Attach(const Facts& facts, const SegmentAnnouncement& announcement);
  static NodeSet NodesFor(const NodeHeapOptions& options, const Topology& topology);
  void ChooseUnits(const Facts& facts, uint64_t region_bytes);
  void PrintUnits(const Facts& facts) const;

  /** Leaves the heap; the leader takes a name that is still there away, but not a file's. */
  void End() noexcept {
    if (backend_->GetType() == ipc::MemoryBackendType::kPosixMmap) backend_->shm_detach();
    Abandon();
  }
  /** Leaves a heap that was not finished: what this rank has created goes. */
  void Abandon() noexcept {
    allocator_ = nullptr;
    backend_->shm_destroy();
  }

  NodeCommunicators comms_;
  int node_rank_;
  int node_size_;
  int node_count_ = 1;
  std::string url_;
  ipc::UnitChoice units_;
  std::unique_ptr<ipc::MemoryBackend> backend_ = std::make_unique<ipc::PosixShmMmap>();
  ipc::MultiProcessAllocator* allocator_ = nullptr;  // belongs to backend_
};

inline NodeHeap::NodeHeap(MPI_Comm comm, const NodeHeapOptions& options)
    : comms_(Usable(comm)), node_rank_(RankIn(comms_.node())), node_size_(SizeOf(comms_.node())) {
  const ScopedComm whole(comm);
  Failure failure;
  try {
    failure = SetUp(whole.get(), options);
  } catch (...) {  // MPI itself failed: no agreement is to be had, but the name must go
    Abandon();
    throw;
  }
  if (!failure) return;
  Abandon();
  MPI_Barrier(whole.get());  // no rank sees the error while a segment is still there
  comms_.Free();
  failure.Throw();
}

/** Each step ends in an agreement, so the ranks stop together behind the first that went wrong. */
inline Failure NodeHeap::SetUp(MPI_Comm whole, const NodeHeapOptions& options) {
  Outcome outcome;
  Facts facts{options, {}, {}};
  outcome.Try([&] {
    facts.usable_nodes_.resize(static_cast<size_t>(node_size_));
    facts.topology_ = DiscoverTopology();
  });
  if (const Failure failure = Agree(whole, outcome)) return failure;

  const NodeSet own_nodes = NodesFor(options, facts.topology_);
  CheckMpi(MPI_Allgather(&own_nodes, sizeof(NodeSet), MPI_BYTE, facts.usable_nodes_.data(),
                         sizeof(NodeSet), MPI_BYTE, comms_.node()),
           "MPI_Allgather");
  SegmentAnnouncement announcement;
  if (is_leader()) announcement.node_count_ = SizeOf(comms_.leaders());
  outcome.Try([&] {
    if (is_leader()) Create(facts, &announcement);
  });
  if (const Failure failure = Agree(whole, outcome)) return failure;

  CheckMpi(MPI_Bcast(&announcement, sizeof(announcement), MPI_BYTE, 0, comms_.node()), "MPI_Bcast");
  node_count_ = announcement.node_count_;
  outcome.Try([&] {
    url_ = announcement.url_;
    if (!is_leader()) Attach(facts, announcement);
  });
  if (const Failure failure = Agree(whole, outcome)) return failure;

  outcome.Try([&] {
    const bool is_file = backend_->GetType() == ipc::MemoryBackendType::kPosixMmap;
    if (is_leader() && options.unlink_after_attach_ && !is_file) backend_->Unlink();
    PrintUnits(facts);
  });
  return Agree(whole, outcome);
}

/** The leader's part: segment and allocator. */
inline void NodeHeap::Create(const Facts& facts, SegmentAnnouncement* announcement) {
  NodeHeapOptions options = facts.options_;
  const bool reopens = IsFile(options) && options.reopens_file_;
  if (!reopens || !Reopen(facts)) {
    const uint64_t nonce = DrawNonce();
    // What could not be reopened is a file whose maker died before there was an allocator in it.
    if (reopens) options.if_exists_ = ipc::IfExists::kReplaceDead;
    backend_ = CreateHeapBackend(options, nonce);
    ipc::AllocatorId alloc_id = options.alloc_id_;
    if (alloc_id.IsNull()) {
      alloc_id =
          ipc::AllocatorId(static_cast<uint32_t>(nonce >> 32) | 1, static_cast<uint32_t>(nonce));
    }
    ChooseUnits(facts, backend_->size_bytes());
    allocator_ = backend_->MakeAlloc<ipc::MultiProcessAllocator>(
        alloc_id, options.custom_header_bytes_, units_.options_);
  }
  announcement->Fill(backend_->GetUrl(), *backend_->header());
}

/** False when there is no finished heap in the file. */
inline bool NodeHeap::Reopen(const Facts& facts) {
  std::unique_ptr<ipc::MemoryBackend> file = ReopenHeapFile(facts.options_);
  if (file == nullptr) return false;
  ChooseUnits(facts, file->size_bytes());
  try {
    allocator_ = file->AttachAlloc<ipc::MultiProcessAllocator>(units_.options_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotReady) throw;
    return false;
  }
  backend_ = std::move(file);
  return true;
}

/** A follower's part: the same segment, for sure, and the allocator in it. */
inline void NodeHeap::Attach(const Facts& facts, const SegmentAnnouncement& announcement) {
  backend_ = AttachHeapBackend(announcement, facts.options_);
  ChooseUnits(facts, backend_->size_bytes());
  allocator_ = backend_->AttachAlloc<ipc::MultiProcessAllocator>(units_.options_);
}

/** Where this rank's units may lie: the node that it names, or those whose CPUs it may use. */
inline NodeSet NodeHeap::NodesFor(const NodeHeapOptions& options, const Topology& topology) {
  // It names none, or one that is not there: that is for AutoUnits to refuse.
  if (options.numa_node_ >= topology.node_count_) return topology.usable_nodes_;
  NodeSet named;
  named.Add(options.numa_node_);
  return named;
}

inline void NodeHeap::ChooseUnits(const Facts& facts, uint64_t region_bytes) {
  const NodeHeapOptions& options = facts.options_;
  ipc::UnitRequest request;
  request.region_bytes_ = region_bytes;
  request.local_rank_ = static_cast<uint32_t>(node_rank_);
  request.node_count_ = facts.topology_.node_count_;
  request.usable_nodes_ = facts.usable_nodes_;
  if (options.process_unit_bytes_ != 0) {
    request.asked_.process_unit_bytes_ = options.process_unit_bytes_;
  }
  if (options.thread_unit_bytes_ != 0) {
    request.asked_.thread_unit_bytes_ = options.thread_unit_bytes_;
  }
  request.asked_.on_death_ = options.on_death_;
  request.asked_.numa_node_ = options.numa_node_;
  units_ = ipc::AutoUnits(request);
  if (!options.is_placed_) units_.options_.numa_node_ = ipc::kAnyNode;
}

/** One line a rank, in one write, so that the lines of several ranks do not mix. */
inline void NodeHeap::PrintUnits(const Facts& facts) const {
  const char* verbose = std::getenv("HSHM_VERBOSE");
  const bool is_asked = verbose != nullptr && std::strcmp(verbose, "1") == 0;
  if (!is_asked && !facts.options_.is_verbose_) return;
  const std::string placed = allocator_->GetPlacement().Describe();
  const std::string line = "hshm: " + HostName() + ": " + units_.Describe() +
                           (placed.empty() ? "" : ", " + placed) +
                           (facts.topology_.is_simulated_ ? ", simulated machine" : "") + "\n";
  std::fputs(line.c_str(), stderr);
}

}  // namespace hshm::mpi

#endif  // HSHM_MPI_NODE_HEAP_H_
