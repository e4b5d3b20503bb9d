#include "hermes_shm/platform/memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "hermes_shm/platform/cancellation.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3
#endif

namespace hshm {
namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

}  // namespace

int CreateMemoryFile(const std::string& label, FileDescriptor* file) {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = memfd_create(label.c_str(), kFlags | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = memfd_create(label.c_str(), kFlags);
  if (fd < 0) return errno;
  FileDescriptor made(fd);
  if (fchmod(fd, S_IRUSR | S_IWUSR) != 0) return errno;
  *file = std::move(made);
  return 0;
}

int SealFileSize(int fd) noexcept {
  return fcntl(fd, F_ADD_SEALS, kSizeSeals | F_SEAL_SEAL) == 0 ? 0 : errno;
}

int FindSizeSeals(int fd, bool* is_sealed) noexcept {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 && errno != EINVAL) return errno;
  *is_sealed = seals >= 0 && (seals & kSizeSeals) == kSizeSeals;  // EINVAL: has no seals at all
  return 0;
}

int OpenFileOfProcess(uint32_t pid, int fd, const FileIdentity& expected, FileDescriptor* file) {
  const NoCancellation no_cancellation;
  char path[48];
  std::snprintf(path, sizeof(path), "/proc/%u/fd/%d", pid, fd);
  // First, for opening a device or a pipe can do something.
  struct stat found = {};
  if (stat(path, &found) != 0) return errno;
  if (FileIdentity{found.st_dev, found.st_ino} != expected) return ESTALE;
  FileDescriptor opened(open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!opened.IsOpen()) return errno;
  if (fstat(opened.get(), &found) != 0) return errno;
  if (FileIdentity{found.st_dev, found.st_ino} != expected) return ESTALE;  // closed meanwhile
  *file = std::move(opened);
  return 0;
}

}  // namespace hshm
