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

struct SegmentAttachOptions {
  /** How long to wait for a creator or a replacer to finish, in milliseconds. */
  uint64_t timeout_ms_ = 1000;
  /** Where the region is wanted in this process; elsewhere when something is there. */
  void* address_hint_ = nullptr;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_SEGMENT_OPTIONS_H_
