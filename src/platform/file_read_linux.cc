#include "hermes_shm/platform/file_read.h"

#include <unistd.h>

#include <cerrno>

namespace hshm {

int ReadFile(int fd, uint64_t offset, void* to, uint64_t size_bytes) noexcept {
  auto* at = static_cast<char*>(to);
  while (size_bytes > 0) {
    const ssize_t got = pread(fd, at, size_bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return ENODATA;
    at += got;
    offset += static_cast<uint64_t>(got);
    size_bytes -= static_cast<uint64_t>(got);
  }
  return 0;
}

}  // namespace hshm
