#ifndef HSHM_MEMORY_BACKEND_SEGMENT_OPTIONS_H_
#define HSHM_MEMORY_BACKEND_SEGMENT_OPTIONS_H_

#include <cstdint>

/** What PosixShmMmap and PosixMmap can be told alike. */
namespace hshm::ipc {

/** What creating does with a segment of the same name that is there already. */
enum class IfExists {
  kReplaceDead,  // replaced when nobody lives in it, refused otherwise
  kFail,         // refused
};

/** Larger pages than the system's usual ones: fewer misses of the address translation, and faster
 * first touches, for memory that is used densely. What was granted: MemoryBackend::GetPageReport.
 * A segment has them, or not, for all its processes. */
enum class HugePages {
  kNever,    // but on a hugetlbfs there are no others
  kAdvise,   // where the system gives them
  kRequire,  // or creating fails with a sentence that says what to do
};

/** Who may take part in a segment. Who may, is trusted: a process that can write to a segment can
 * make all others in it crash. Creators and attachers must ask for the same. */
enum class SegmentAccess {
  kUser,  // processes of one user: mode 0600, others cannot even read
  /** Also those of other users who have the file's group among theirs: mode 0660. The group is the
   * creator's effective one, or that of a directory which hands its own down (chmod g+s). */
  kGroup,
};

struct SegmentAttachOptions {
  /** How long to wait for a creator or a replacer to finish, in milliseconds. */
  uint64_t timeout_ms_ = 1000;
  /** Where the region is wanted in this process; elsewhere when something is there. */
  void* address_hint_ = nullptr;
  SegmentAccess access_ = SegmentAccess::kUser;
  /** Whether a core dump of this process has the segment's pages. Each process of a node would
   * write the whole heap. */
  bool in_core_dumps_ = false;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_SEGMENT_OPTIONS_H_
