#ifndef HSHM_SRC_MEMORY_BACKEND_FILE_TRUST_H_
#define HSHM_SRC_MEMORY_BACKEND_FILE_TRUST_H_

#include <cstdint>
#include <string>

#include "hermes_shm/memory/backend/segment_options.h"
#include "hermes_shm/platform/shared_memory.h"

/**
 * Whose files are taken for segments. The content of a segment is trusted: whoever can write to it
 * can make its processes crash, or do what he likes. Whoever can merely open it can lock its bytes,
 * and then the dead seem alive and slots taken. So a file must belong to this user, or be the
 * group's where that was asked for, and nobody else may open it.
 */
namespace hshm::ipc {

/** Permission bits of a new segment. */
uint32_t ModeFor(SegmentAccess access) noexcept;

/** Whether an open file can be a segment. @throws Error kNotRegularFile, kNotOwner */
FileStatus JudgeFile(const std::string& path, int fd, SegmentAccess access);

/** Whether nobody else can open it. @throws Error kUnsafeMode */
void JudgeMode(const std::string& path, const FileStatus& status, SegmentAccess access);

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_FILE_TRUST_H_
