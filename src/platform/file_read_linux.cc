#include "hermes_shm/platform/file_read.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "hermes_shm/platform/cancellation.h"

namespace hshm {

int OpenToRead(const std::string& path, FileDescriptor* file) {
  const NoCancellation no_cancellation;
  const bool is_of_process = path.rfind("/proc/", 0) == 0;
  struct stat found = {};
  const int looked = is_of_process ? stat(path.c_str(), &found) : lstat(path.c_str(), &found);
  if (looked != 0) return errno;
  if (S_ISLNK(found.st_mode)) return ELOOP;
  if (!S_ISREG(found.st_mode)) return ENXIO;
  const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (is_of_process ? 0 : O_NOFOLLOW);
  FileDescriptor opened(open(path.c_str(), flags));
  if (!opened.IsOpen()) return errno;
  struct stat now = {};
  if (fstat(opened.get(), &now) != 0) return errno;
  if (!S_ISREG(now.st_mode)) return ENXIO;  // another one has got the name meanwhile
  *file = std::move(opened);
  return 0;
}

uint64_t BirthTimeOfFile(int fd) noexcept {
  struct statx found = {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &found) != 0) return 0;
  return (found.stx_mask & STATX_BTIME) != 0 ? static_cast<uint64_t>(found.stx_btime.tv_sec) : 0;
}

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
