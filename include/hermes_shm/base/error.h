#ifndef HSHM_BASE_ERROR_H_
#define HSHM_BASE_ERROR_H_

#include <cstdint>
#include <stdexcept>
#include <string>

#include "hermes_shm/base/macros.h"

namespace hshm {

/**
 * Why setting something up failed. docs/errors.md says for each what causes and what cures it. The
 * numbers are part of the interface: new codes go to the end.
 */
enum class ErrorCode : uint32_t {
  kNone = 0,
  kBadName,           // a segment's name is empty, too long or has a '/'
  kNotFound,          // nothing of that name is there
  kPermission,        // the system refused access
  kIsSymlink,         // the name is a symbolic link, which is never followed
  kFdLimit,           // no file descriptor is left
  kNotRegularFile,    // a directory, FIFO or device stands where a segment should
  kNotOwner,          // the segment belongs to another user
  kUnsafeMode,        // others than the owner may write the segment
  kTruncated,         // the file is shorter than its header says
  kSizeMismatch,      // the header's size and the file's do not agree
  kNotASegment,       // the file does not begin like a segment
  kAbiMismatch,       // other endianness, word size or page size
  kVersionMismatch,   // made by a release with another layout
  kWrongBackend,      // the segment was made by another kind of backend
  kWrongAllocator,    // the region holds another allocator than the one asked for
  kNotReady,          // the creator has not published it within the time allowed
  kCorrupt,           // checksum or geometry of the header is wrong
  kStaleBoot,         // the segment is from before the machine's last start
  kTooManyProcesses,  // all process slots are taken
  kNoSpace,           // the file system or the region has no room
  kMemoryLimit,       // a control group's limit is below what was asked for
  kAlreadyExists,     // a living process holds a segment of that name
  kIdInUse,           // the id names something else in this process already
  kBackendInUse,      // the backend holds an allocator already
  kOutOfRange,        // an argument is outside of what is documented
  kUnsupported,       // the combination cannot work
  kHolderStopped,     // a lock's holder is stopped, alive, and has not let go in time
  kNoGpu,
  kWrongDevice,
  kDeviceMemory,
  kLaunchFailed,
  kSystem,  // any other failure of a system call
};

/** The code as it is spelled in the documentation, without the k: "NoSpace". Never null. */
HSHM_API const char* ErrorCodeName(ErrorCode code) noexcept;

/**
 * What set-up calls throw. what() is one or more whole sentences: what failed, what was asked for,
 * what is there, and what to do. Nothing half-made stays behind when one is thrown.
 */
class HSHM_API Error : public std::runtime_error {
 public:
  /** os_errno is the errno of the failed system call, or 0 where none failed. */
  Error(ErrorCode code, const std::string& sentence, int os_errno = 0);

  ErrorCode code() const noexcept { return code_; }
  int os_errno() const noexcept { return os_errno_; }

 private:
  ErrorCode code_;
  int os_errno_;
};

}  // namespace hshm

#endif  // HSHM_BASE_ERROR_H_
