#ifndef HSHM_SRC_MEMORY_BACKEND_UNNAMED_SEGMENT_H_
#define HSHM_SRC_MEMORY_BACKEND_UNNAMED_SEGMENT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "memory/backend/shm_memory.h"

/** Segments without a name: sealed files in memory that members open through one another. */
namespace hshm::ipc {

/**
 * Where an unnamed segment can be had: "/proc/PID/fd/FD#DEVICE:INODE:LABEL", which can be no name
 * of a segment. The file's identity is there because numbers of processes and descriptors are
 * reused, and mean another process in another container.
 */
struct UnnamedUrl {
  uint32_t pid_ = 0;
  int fd_ = -1;
  FileIdentity identity_;
  std::string label_;

  std::string Text() const;
  /** Nothing when it is no such URL. */
  static std::optional<UnnamedUrl> Parse(const std::string& text);
};

/** A new file, empty and not sealed yet, with this process present in it. @throws Error */
SegmentFile MakeUnnamedFile(const std::string& label);

/**
 * Opens the segment and says that this process is here.
 * @throws Error kNotFound when the process that the URL names has gone, has closed the segment or
 * is another; kPermission, kFdLimit, kNotOwner, kUnsafeMode; kNotASegment when its size is not
 * sealed
 */
SegmentFile JoinUnnamedFile(const UnnamedUrl& url);

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_UNNAMED_SEGMENT_H_
