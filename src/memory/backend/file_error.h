#ifndef HSHM_SRC_MEMORY_BACKEND_FILE_ERROR_H_
#define HSHM_SRC_MEMORY_BACKEND_FILE_ERROR_H_

#include <cstdint>
#include <string>

#include "hermes_shm/base/error.h"

namespace hshm::ipc {

/** "61 MB", "1 GB", "1.5 GB": whole binary units where it can. */
std::string HumanBytes(uint64_t bytes);

/** The error for a system call on a segment's file that failed. */
Error FileError(const std::string& what, int os_errno);

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_FILE_ERROR_H_
