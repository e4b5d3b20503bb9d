#include "hermes_shm/platform/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "hermes_shm/platform/cancellation.h"

namespace hshm {
namespace {

constexpr mode_t kPrivateMode = S_IRUSR | S_IWUSR;

// One fallocate starts over when a signal interrupts it, so it must end within the period of a
// profiler's timer: tmpfs clears 2 MiB in half a millisecond.
constexpr uint64_t kCommitStepBytes = uint64_t{2} << 20;

/** Repeats a system call that a signal interrupted. @return 0 or the errno */
template <typename Call>
int Retried(Call call) noexcept {
  const NoCancellation no_cancellation;
  for (;;) {
    if (call() >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

FileStatus FromStat(const struct stat& from) noexcept {
  FileStatus status;
  status.identity_ = {from.st_dev, from.st_ino};
  status.size_bytes_ = static_cast<uint64_t>(from.st_size);
  status.committed_bytes_ = static_cast<uint64_t>(from.st_blocks) * 512;  // stat(2): units of 512
  status.user_id_ = from.st_uid;
  status.mode_ = from.st_mode & 07777;
  status.links_ = static_cast<uint32_t>(from.st_nlink);
  status.is_regular_ = S_ISREG(from.st_mode);
  return status;
}

int OpenWith(const std::string& path, int flags, FileDescriptor* file) {
  int fd = -1;
  const int error = Retried([&] { return fd = open(path.c_str(), flags, kPrivateMode); });
  if (error == 0) *file = FileDescriptor(fd);
  return error;
}

/** Whether a file may have this size: writing beyond the limit would raise SIGXFSZ. */
bool ExceedsLimit(uint64_t offset, uint64_t size_bytes) noexcept {
  const uint64_t limit = FileBytesLimit();
  return size_bytes > limit || offset > limit - size_bytes;
}

}  // namespace

std::string SharedMemoryDirectory() {
  const char* chosen = std::getenv("HSHM_SHM_DIR");
  std::string directory = chosen != nullptr && *chosen != '\0' ? chosen : "/dev/shm";
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  return directory;
}

int CreateUnnamedFile(const std::string& directory, FileDescriptor* file) {
  FileDescriptor made;
  int error = OpenWith(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, &made);
  if (error == 0) error = Retried([&] { return fchmod(made.get(), kPrivateMode); });
  if (error == 0) *file = std::move(made);
  return error;
}

int PublishFile(int fd, const std::string& path) {
  struct stat status = {};
  if (fstat(fd, &status) != 0) return errno;
  char source[32];
  std::snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
  if (access(source, F_OK) != 0) return errno == ENOENT ? ENOSYS : errno;
  return Retried(
      [&] { return linkat(AT_FDCWD, source, AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW); });
}

int OpenFile(const std::string& path, FileDescriptor* file) {
  return OpenWith(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, file);
}

int UnlinkFile(const std::string& path) {
  return Retried([&] { return unlink(path.c_str()); });
}

int StatusOfFile(int fd, FileStatus* status) noexcept {
  struct stat found = {};
  if (fstat(fd, &found) != 0) return errno;
  *status = FromStat(found);
  return 0;
}

int StatusOfPath(const std::string& path, FileStatus* status) {
  struct stat found = {};
  if (lstat(path.c_str(), &found) != 0) return errno;
  *status = FromStat(found);
  return 0;
}

int SetFileBytes(int fd, uint64_t size_bytes) noexcept {
  if (ExceedsLimit(0, size_bytes)) return EFBIG;
  return Retried([&] { return ftruncate(fd, static_cast<off_t>(size_bytes)); });
}

int CommitFile(int fd, uint64_t offset, uint64_t size_bytes) noexcept {
  if (ExceedsLimit(offset, size_bytes)) return EFBIG;
  while (size_bytes > 0) {
    const uint64_t step = std::min(size_bytes, kCommitStepBytes);
    const int error = Retried([&] {
      return fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(step));
    });
    if (error != 0) return error;
    offset += step;
    size_bytes -= step;
  }
  return 0;
}

int PunchHole(int fd, uint64_t offset, uint64_t size_bytes) noexcept {
  return Retried([&] {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(size_bytes));
  });
}

int MapShared(int fd, uint64_t size_bytes, void* hint, char** base) noexcept {
  void* mapped = mmap(hint, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return errno;
  *base = static_cast<char*>(mapped);
  return 0;
}

void UnmapShared(char* base, uint64_t size_bytes) noexcept { munmap(base, size_bytes); }

int RoomOf(const std::string& directory, FileSystemRoom* room) {
  struct statvfs found = {};
  const int error = Retried([&] { return statvfs(directory.c_str(), &found); });
  if (error != 0) return error;
  room->free_bytes_ = uint64_t{found.f_bavail} * found.f_frsize;
  room->total_bytes_ = uint64_t{found.f_blocks} * found.f_frsize;
  return 0;
}

uint64_t FileBytesLimit() noexcept {
  rlimit limit = {};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return ~uint64_t{0};
  return limit.rlim_cur;
}

}  // namespace hshm
