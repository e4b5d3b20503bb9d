#ifndef HSHM_PLATFORM_FILE_READ_H_
#define HSHM_PLATFORM_FILE_READ_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"

namespace hshm {

/**
 * Copies size_bytes at `offset` of a file, so that what is there can be looked at without mapping
 * memory that another process may cut away. @return 0, ENODATA when the file ends before, an errno
 */
[[nodiscard]] HSHM_API int ReadFile(int fd, uint64_t offset, void* to,
                                    uint64_t size_bytes) noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_FILE_READ_H_
