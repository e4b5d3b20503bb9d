#ifndef HSHM_PLATFORM_FILE_READ_H_
#define HSHM_PLATFORM_FILE_READ_H_

#include <cstdint>
#include <string>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/platform/file_descriptor.h"

/** Looking at files that others work on, without changing anything of them. */
namespace hshm {

/**
 * Opens a regular file for reading alone. Never follows a symbolic link (ELOOP), but for the
 * entries of /proc/PID/fd and /proc/PID/map_files, which lead to open files rather than to names;
 * opens nothing else, for opening a device or the other end of a FIFO can do something.
 * @return 0, ENXIO when it is no regular file, ENOENT, EACCES, ...
 */
[[nodiscard]] HSHM_API int OpenToRead(const std::string& path, FileDescriptor* file);

/** When the file was made, in seconds since 1970; 0 when its file system does not tell. */
HSHM_API uint64_t BirthTimeOfFile(int fd) noexcept;

/**
 * Copies size_bytes at `offset` of a file, so that what is there can be looked at without mapping
 * memory that another process may cut away. @return 0, ENODATA when the file ends before, an errno
 */
[[nodiscard]] HSHM_API int ReadFile(int fd, uint64_t offset, void* to,
                                    uint64_t size_bytes) noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_FILE_READ_H_
