#ifndef HSHM_MEMORY_BACKEND_SEGMENT_REPORT_H_
#define HSHM_MEMORY_BACKEND_SEGMENT_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/platform/file_descriptor.h"
#include "hermes_shm/platform/shared_memory.h"

/**
 * Looking at segments from outside, and removing dead ones: for tools and for schedulers'
 * epilogues. Nothing here maps a segment, joins it or writes to it, so that it is safe beside
 * whoever works in it, and on whatever its content has become. Files of PosixShmMmap and PosixMmap.
 */
namespace hshm::ipc {

/** A process slot whose byte is locked: somebody lives there. All else is what that process wrote
 * about itself. */
struct SlotHolder {
  uint32_t slot_ = 0;
  uint32_t os_pid_ = 0;         // in its own PID namespace
  uint64_t start_time_ = 0;     // clock ticks since boot
  uint64_t pid_namespace_ = 0;  // inode of its /proc/self/ns/pid
};

/** What a segment's file and header say, copied once, and who holds its locks. */
struct SegmentReport {
  FileStatus file_;
  MemoryBackendType type_ = MemoryBackendType::kPosixShmMmap;
  uint32_t backend_id_ = 0;
  uint32_t layout_version_ = 0;
  uint64_t region_bytes_ = 0;  // capacity
  bool is_growing_ = false;    // BackendFlag::kGrowingFile
  uint32_t creator_pid_ = 0;
  uint64_t creator_start_time_ = 0;
  bool is_from_this_boot_ = true;
  /** Why attaching would refuse the header (CheckHeader); kNone and empty when it would not. */
  ErrorCode defect_ = ErrorCode::kNone;
  std::string defect_sentence_;
  /** True while somebody holds a lock of it: a member, or a process that is creating, attaching or
   * replacing it. True also when the system does not tell. */
  bool is_alive_ = false;
  std::vector<SlotHolder> holders_;  // fewer than live in it: who has no allocator has no slot
};

/**
 * Opens a segment for reading alone. `where` is a path, or the url of a segment without a name.
 * @throws Error kNotFound, kPermission, kIsSymlink, kNotRegularFile, kFdLimit, kSystem
 */
HSHM_API FileDescriptor OpenSegmentToRead(const std::string& where);

/** The path that a segment's name stands for; a path is its own. @throws Error kBadName */
HSHM_API std::string PathOfSegment(const std::string& name_or_path);

/** Nothing when the file does not begin like a segment. `name` is for sentences. */
HSHM_API std::optional<SegmentReport> ReadSegmentReport(int fd, const std::string& name);

enum class RemovalResult {
  kRemoved,
  kNothingThere,
  kInUse,        // somebody lives in it
  kBusy,         // another process is replacing it at this moment
  kNotASegment,  // the file does not begin like one
  kPersistent,   // a file of PosixMmap: it is meant to outlive its processes
};

/**
 * Takes the name of a segment of PosixShmMmap away if nobody lives in it; its memory goes with it.
 * Locks decide, not names or pids, and by the protocol of PosixShmMmap: who attaches at the same
 * moment either is seen here, or sees that the segment is gone and looks again.
 * @param of_any_user removes also what belongs to others, where the system permits it
 * @throws Error kNotOwner, kIsSymlink, kNotRegularFile, kPermission, kFdLimit, kSystem
 */
HSHM_API RemovalResult RemoveSegmentIfDead(const std::string& path, bool of_any_user = false);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_SEGMENT_REPORT_H_
