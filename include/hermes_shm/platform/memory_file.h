#ifndef HSHM_PLATFORM_MEMORY_FILE_H_
#define HSHM_PLATFORM_MEMORY_FILE_H_

#include <cstdint>
#include <string>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/platform/file_descriptor.h"
#include "hermes_shm/platform/shared_memory.h"

/**
 * Files in memory that have no name in any file system: gone with their last user, however that
 * ends. Another process of the same user opens one through a process that has it open.
 */
namespace hshm {

/**
 * A new empty file with mode 0600. `label`, of at most 200 bytes, is what people see of it in
 * /proc.
 * @return 0, EMFILE, ENOSYS when the system has no such files
 */
[[nodiscard]] HSHM_API int CreateMemoryFile(const std::string& label, FileDescriptor* file);

/** From now on nobody can make the file shorter or longer, nor take that back (fcntl(2), seals). */
[[nodiscard]] HSHM_API int SealFileSize(int fd) noexcept;
/** Whether that has been done; false of a file that can have no seals. @return 0 or the errno */
[[nodiscard]] HSHM_API int FindSizeSeals(int fd, bool* is_sealed) noexcept;

/**
 * Opens, for reading and writing and with a description of its own, what process `pid` has open as
 * `fd`, if that is the file expected; opens nothing else.
 * @return 0, ENOENT when there is no such process or descriptor, ESTALE when it is another file,
 * EACCES when the process is another user's
 */
[[nodiscard]] HSHM_API int OpenFileOfProcess(uint32_t pid, int fd, const FileIdentity& expected,
                                             FileDescriptor* file);

}  // namespace hshm

#endif  // HSHM_PLATFORM_MEMORY_FILE_H_
