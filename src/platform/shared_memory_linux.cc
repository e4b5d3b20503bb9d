#include "hermes_shm/platform/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "hermes_shm/platform/cancellation.h"
#include "hermes_shm/platform/page.h"

namespace hshm {
namespace {

constexpr mode_t kPrivateMode = S_IRUSR | S_IWUSR;

// One fallocate starts over when a signal interrupts it, so it must end within the period of a
// profiler's timer: tmpfs clears 2 MiB in half a millisecond.
constexpr uint64_t kCommitStepBytes = uint64_t{2} << 20;

constexpr int64_t kHugetlbfsMagic = 0x958458f6;  // statfs(2)
constexpr int64_t kTmpfsMagic = 0x01021994;      // statfs(2); a memory file's, too

// Where data ends is not asked for, which could be far behind the range. A call costs less than a
// tenth of clearing so much.
constexpr uint64_t kClearStepBytes = uint64_t{256} << 10;

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
  status.group_id_ = from.st_gid;
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

/** Addresses that nobody uses, a multiple of `alignment`; null when there are none. */
char* FindAligned(uint64_t size_bytes, uint64_t alignment) noexcept {
  const uint64_t room = size_bytes + alignment;
  if (room < size_bytes) return nullptr;
  void* const found =
      mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found == MAP_FAILED) return nullptr;
  munmap(found, room);
  const auto address = reinterpret_cast<uintptr_t>(found);
  return static_cast<char*>(found) + (alignment - address % alignment) % alignment;
}

/** A tmpfs calls a page data when it was written, whoever mapped it, and a hole when it was merely
 * committed. Others may not know yet what lies in mapped pages. */
bool IsTmpfs(int fd) noexcept {
  struct statfs found = {};
  return fstatfs(fd, &found) == 0 && found.f_type == kTmpfsMagic;
}

}  // namespace

std::string SharedMemoryDirectory() {
  const char* chosen = std::getenv("HSHM_SHM_DIR");
  std::string directory = chosen != nullptr && *chosen != '\0' ? chosen : "/dev/shm";
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(directory, error).string();
  if (!error) directory = absolute;  // so that a segment is found again from another directory
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

int CreateNamedFile(const std::string& path, FileDescriptor* file) {
  FileDescriptor made;
  int error = OpenWith(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, &made);
  if (error != 0) return error;
  error = Retried([&] { return fchmod(made.get(), kPrivateMode); });
  if (error == 0) {
    *file = std::move(made);
  } else {
    static_cast<void>(UnlinkFile(path));
  }
  return error;
}

int RenameFile(const std::string& from, const std::string& to) {
  return Retried(
      [&] { return renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE); });
}

int SetFileMode(int fd, uint32_t mode) noexcept {
  return Retried([&] { return fchmod(fd, mode); });
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

int FilePageBytes(int fd, uint64_t* page_bytes) noexcept {
  struct statfs found = {};
  const int error = Retried([&] { return fstatfs(fd, &found); });
  const bool is_huge = error == 0 && found.f_type == kHugetlbfsMagic;
  *page_bytes = is_huge ? static_cast<uint64_t>(found.f_bsize) : SystemPageBytes();
  return error;
}

int SetFileBytes(int fd, uint64_t size_bytes) noexcept {
  if (ExceedsLimit(0, size_bytes)) return EFBIG;
  return Retried([&] { return ftruncate(fd, static_cast<off_t>(size_bytes)); });
}

int CommitFile(int fd, uint64_t offset, uint64_t size_bytes, FileGrowth growth) noexcept {
  if (ExceedsLimit(offset, size_bytes)) return EFBIG;
  const int mode = growth == FileGrowth::kNone ? FALLOC_FL_KEEP_SIZE : 0;
  while (size_bytes > 0) {
    const uint64_t step = std::min(size_bytes, kCommitStepBytes);
    const int error = Retried(
        [&] { return fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(step)); });
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

bool HasNoWrittenPages(int fd, uint64_t offset, uint64_t size_bytes) noexcept {
  const int former_errno = errno;
  bool has_none = false;
  if (IsTmpfs(fd)) {
    const off_t data = lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
    has_none = data < 0 ? errno == ENXIO : static_cast<uint64_t>(data) >= offset + size_bytes;
  }
  errno = former_errno;
  return has_none;
}

bool ClearWrittenPages(int fd, char* base, uint64_t offset, uint64_t size_bytes) noexcept {
  const int former_errno = errno;
  const bool is_known = IsTmpfs(fd);
  const uint64_t end = offset + size_bytes;
  for (uint64_t at = offset; is_known && at < end;) {
    const off_t data = lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // no data from here to the end of the file
    if (data >= 0) at = static_cast<uint64_t>(data);
    if (at >= end) break;
    const uint64_t bytes = std::min(end - at, kClearStepBytes);
    std::memset(base + at, 0, bytes);
    at += bytes;
  }
  errno = former_errno;
  return is_known;
}

int MapShared(int fd, uint64_t size_bytes, void* hint, char** base, uint64_t alignment) noexcept {
  // No reserve: hugetlbfs would take pages for the whole capacity. Commit takes what is needed.
  constexpr int kFlags = MAP_SHARED | MAP_NORESERVE;
  constexpr int kAccess = PROT_READ | PROT_WRITE;
  if (reinterpret_cast<uintptr_t>(hint) % alignment != 0) hint = nullptr;
  void* mapped = mmap(hint, size_bytes, kAccess, kFlags, fd, 0);
  // Another thread may take what was found, so look again; never over what is there.
  for (int i = 0; i < 8 && mapped != MAP_FAILED; ++i) {
    if (reinterpret_cast<uintptr_t>(mapped) % alignment == 0) break;
    char* const aligned = FindAligned(size_bytes, alignment);
    if (aligned == nullptr) break;
    munmap(mapped, size_bytes);
    mapped = mmap(aligned, size_bytes, kAccess, kFlags, fd, 0);
  }
  if (mapped == MAP_FAILED) return errno;
  *base = static_cast<char*>(mapped);
  return 0;
}

int LeaveOutOfCoreDumps(char* base, uint64_t size_bytes) noexcept {
  return madvise(base, size_bytes, MADV_DONTDUMP) == 0 ? 0 : errno;
}

void UnmapShared(char* base, uint64_t size_bytes) noexcept { munmap(base, size_bytes); }

int SyncMapping(char* base, uint64_t size_bytes) noexcept {
  return Retried([&] { return msync(base, size_bytes, MS_SYNC); });
}

int SyncDirectory(const std::string& directory) {
  FileDescriptor opened;
  const int error = OpenWith(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, &opened);
  if (error != 0) return error;
  const int synced = Retried([&] { return fsync(opened.get()); });
  return synced == EINVAL ? 0 : synced;  // fsync(2): names are not written apart there
}

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
