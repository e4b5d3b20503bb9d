#ifndef HSHM_MPI_COMMUNICATORS_H_
#define HSHM_MPI_COMMUNICATORS_H_

#include <memory>

#include "hermes_shm/base/error.h"
#include "hermes_shm/mpi/agreement.h"
#include "hermes_shm/mpi/mpi_c.h"

namespace hshm::mpi {

/** @return comm. @throws Error kUnsupported, kOutOfRange when no collective call works on it */
inline MPI_Comm Usable(MPI_Comm comm) {
  int is_initialized = 0;
  int is_finalized = 0;
  MPI_Initialized(&is_initialized);
  MPI_Finalized(&is_finalized);
  if (is_initialized == 0 || is_finalized != 0) {
    throw Error(ErrorCode::kUnsupported,
                "A node heap is set up between MPI_Init and MPI_Finalize; MPI is not running.");
  }
  if (comm == MPI_COMM_NULL) {
    throw Error(ErrorCode::kOutOfRange,
                "A node heap was asked for on MPI_COMM_NULL: only the ranks that belong to a "
                "communicator can set one up.");
  }
  int is_inter = 0;
  CheckMpi(MPI_Comm_test_inter(comm, &is_inter), "MPI_Comm_test_inter");
  if (is_inter != 0) {
    throw Error(ErrorCode::kUnsupported,
                "A node heap needs an intracommunicator: merge the groups of the intercommunicator "
                "with MPI_Intercomm_merge.");
  }
  return comm;
}

/** A communicator that is freed at the end of a scope, on all its ranks at the same place. */
class ScopedComm {
 public:
  /** Collective. A duplicate, so that our messages never meet the application's. */
  explicit ScopedComm(MPI_Comm comm) { CheckMpi(MPI_Comm_dup(comm, &comm_), "MPI_Comm_dup"); }
  ~ScopedComm() { MPI_Comm_free(&comm_); }
  ScopedComm(const ScopedComm&) = delete;
  ScopedComm& operator=(const ScopedComm&) = delete;
  MPI_Comm get() const { return comm_; }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
};

/**
 * The communicator of the ranks on this node, and that of the nodes' leaders.
 *
 * The destructor makes no MPI call, for it may run after MPI_Finalize. Free() frees them; without
 * it MPI_Finalize does, since they hang on MPI_COMM_SELF as an attribute (MPI 3.1, section 8.7.1:
 * MPI_Finalize deletes those first, while MPI still works).
 */
class NodeCommunicators {
 public:
  /** Collective on comm. Ranks keep their order, so the leader is the node's lowest rank. */
  explicit NodeCommunicators(MPI_Comm comm) {
    const int rank = RankIn(comm);
    CheckMpi(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node_),
             "MPI_Comm_split_type");
    const int color = RankIn(node_) == 0 ? 0 : MPI_UNDEFINED;
    CheckMpi(MPI_Comm_split(comm, color, rank, &leaders_), "MPI_Comm_split");
    LeaveToFinalize();
  }
  NodeCommunicators(const NodeCommunicators&) = delete;
  NodeCommunicators& operator=(const NodeCommunicators&) = delete;

  MPI_Comm node() const { return node_; }
  MPI_Comm leaders() const { return leaders_; }

  /** Every rank calls it, as for MPI_Comm_free. Repeatable; a no-op after MPI_Finalize. */
  void Free() noexcept {
    int is_finalized = 0;
    MPI_Finalized(&is_finalized);
    if (keyval_ != MPI_KEYVAL_INVALID && is_finalized == 0) {
      MPI_Comm_delete_attr(MPI_COMM_SELF, keyval_);  // calls FreeHandles
      MPI_Comm_free_keyval(&keyval_);
    }
    keyval_ = MPI_KEYVAL_INVALID;
    node_ = MPI_COMM_NULL;
    leaders_ = MPI_COMM_NULL;
  }

 private:
  struct Handles {
    MPI_Comm node_;
    MPI_Comm leaders_;
  };

  static int FreeHandles(MPI_Comm, int, void* value, void*) {
    const std::unique_ptr<Handles> handles(static_cast<Handles*>(value));
    if (handles->leaders_ != MPI_COMM_NULL) MPI_Comm_free(&handles->leaders_);
    MPI_Comm_free(&handles->node_);
    return MPI_SUCCESS;
  }

  void LeaveToFinalize() {
    auto handles = std::make_unique<Handles>(Handles{node_, leaders_});
    CheckMpi(MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, FreeHandles, &keyval_, nullptr),
             "MPI_Comm_create_keyval");
    CheckMpi(MPI_Comm_set_attr(MPI_COMM_SELF, keyval_, handles.get()), "MPI_Comm_set_attr");
    static_cast<void>(handles.release());  // FreeHandles deletes it
  }

  MPI_Comm node_ = MPI_COMM_NULL;
  MPI_Comm leaders_ = MPI_COMM_NULL;
  int keyval_ = MPI_KEYVAL_INVALID;
};

}  // namespace hshm::mpi

#endif  // HSHM_MPI_COMMUNICATORS_H_
