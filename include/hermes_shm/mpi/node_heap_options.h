#ifndef HSHM_MPI_NODE_HEAP_OPTIONS_H_
#define HSHM_MPI_NODE_HEAP_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "hermes_shm/base/types.h"
#include "hermes_shm/memory/allocator/multi_process/options.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"

namespace hshm::mpi {

/**
 * How a NodeHeap is set up. Of the fields marked [leader] those of each node's lowest rank count,
 * of the others each rank's own.
 */
struct NodeHeapOptions {
  /**
   * [leader] The segment's name; empty: one of user, job and a random number that is new. An
   * absolute path is a file, on a file system that each node has for itself: such a heap outlives
   * the job (see PosixMmap) and loses its name only when setting it up fails.
   */
  std::string url_;

  /**
   * [leader] A file that is there is not made anew: the ranks find the allocator, the blocks and
   * the roots of the job before, however that ended. Sizes and ids are then those of the file.
   * Without this, if_exists_ says what happens to it.
   */
  bool reopens_file_ = true;

  /**
   * [leader] Size of the heap in bytes; 0: half of what is free now where it will lie. Memory is
   * taken as it is used, so several heaps may each count on the same free half.
   */
  uint64_t capacity_bytes_ = 0;

  /** [leader] The heap grows up to so many bytes, for which there need be no room yet; 0: it does
   * not grow. See PosixShmOptions::max_size_bytes_. */
  uint64_t max_capacity_bytes_ = 0;

  /** [leader] Whether the segment has a name, and which pages. Not for files: their path is it. */
  ipc::Naming naming_ = ipc::Naming::kNamed;
  ipc::HugePages huge_pages_ = ipc::HugePages::kNever;

  /** [leader] The application's part of the shared header, zeroed; see GetCustomHeader. */
  size_t custom_header_bytes_ = 0;

  /** [leader] Null: a random one, so that the heaps of a job differ. */
  ipc::AllocatorId alloc_id_;

  /** [leader] What to do when a segment of that name is there. */
  ipc::IfExists if_exists_ = ipc::IfExists::kReplaceDead;

  /**
   * [leader] The segment loses its name once all ranks of the node have it, and is gone with the
   * last of them, however they end. Otherwise other processes can attach by url() until the
   * leader's heap ends. Not for files.
   */
  bool unlink_after_attach_ = true;

  /** Most that this rank takes from the heap at a time; 0: as AutoUnits chooses. */
  uint64_t process_unit_bytes_ = 0;
  uint64_t thread_unit_bytes_ = 0;

  /** NUMA node of this rank's units; kAnyNode: that of its CPUs, as AutoUnits chooses. */
  uint32_t numa_node_ = ipc::kAnyNode;

  /** Asks the system to place this rank's units on its node. Without it memory lies where the
   * process's own policy puts it (numactl), or the CPU that touches it first. */
  bool is_placed_ = true;

  /** What becomes of the blocks that this rank handed out when it dies. */
  ipc::OnDeath on_death_ = ipc::OnDeath::kKeepLive;

  /** How long this rank waits for the leader's segment to become usable. */
  uint64_t attach_timeout_ms_ = 10'000;  // a loaded node may stall a process for seconds

  /** Whether a core dump of this rank has the heap's pages; the ranks of a node would each write
   * the whole heap. */
  bool in_core_dumps_ = false;

  /** Prints what AutoUnits chose, and what was placed, to stderr. So does HSHM_VERBOSE=1 in the
   * environment. */
  bool is_verbose_ = false;
};

}  // namespace hshm::mpi

#endif  // HSHM_MPI_NODE_HEAP_OPTIONS_H_
