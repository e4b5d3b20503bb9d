#include "hermes_shm/memory/allocator/allocator_report.h"

#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/platform/file_read.h"

namespace hshm::ipc {

AllocatorType ReadAllocatorType(int fd, uint64_t region_bytes) noexcept {
  uint32_t type = 0;
  static_assert(sizeof(AllocatorHeader::type_) == sizeof(type));
  const uint64_t at = AllocatorOffsetFor(region_bytes) + offsetof(AllocatorHeader, type_);
  if (ReadFile(fd, at, &type, sizeof(type)) != 0) return AllocatorType::kNone;
  return static_cast<AllocatorType>(type);
}

}  // namespace hshm::ipc
