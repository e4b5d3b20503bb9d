#ifndef HSHM_SRC_MEMORY_BACKEND_SEGMENT_FILE_H_
#define HSHM_SRC_MEMORY_BACKEND_SEGMENT_FILE_H_

#include <cstdint>
#include <string>

#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "memory/backend/file_error.h"
#include "memory/backend/file_trust.h"
#include "memory/backend/shm_memory.h"

/** Finding and judging the files of PosixShmMmap and PosixMmap. */
namespace hshm::ipc {

/** Whether a segment can have this name; SegmentPath says what is wrong. */
bool IsSegmentName(const std::string& url);

/** Where the segment lies. @throws Error kBadName */
std::string SegmentPath(const std::string& url);

/** The path as it will be meant also when the working directory changes. @throws Error kBadName */
std::string FilePath(const std::string& path);

/**
 * Opens what has the name and judges the file, not yet its content. @throws Error kNotFound,
 * kPermission, kIsSymlink, kFdLimit, kNotRegularFile, kNotOwner
 */
FileStatus OpenSegmentFile(const std::string& path, SegmentAccess access, FileDescriptor* file);

/**
 * Opens a segment and says that this process is here. @throws as OpenSegmentFile; kUnsafeMode;
 * kNotReady when a replacer holds the file until the deadline
 */
SegmentFile JoinSegmentFile(const std::string& path, SegmentAccess access, uint64_t deadline_us);

/** Copies the front of a segment; zeros when it is not all there. @return 0 or the errno */
[[nodiscard]] int CopyHeader(int fd, BackendHeader* copy);

/** Lets half a millisecond pass, for another process to finish what it is doing. */
void PauseBeforeRetry() noexcept;

enum class Removal {
  kNothingThere,
  kRemoved,
  kTryAgain,  // another process is replacing it at this moment
  kInUse,     // somebody lives in it
};

/**
 * Takes the name of an open segment away if nobody lives in it: the replacer's part of the protocol
 * in PosixShmMmap's comment. @throws Error as FileError says
 */
Removal UnlinkIfDead(const std::string& path, int fd, const FileIdentity& identity);

/**
 * Takes away a dead segment of that name; `who` then says whose it was. @throws Error
 * kAlreadyExists when somebody lives in it, or it is no segment; as OpenSegmentFile
 */
Removal RemoveDeadSegment(const std::string& path, IfExists if_exists, SegmentAccess access,
                          std::string* who);

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_SEGMENT_FILE_H_
