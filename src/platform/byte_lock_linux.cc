#include "hermes_shm/platform/byte_lock.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>

#include "hermes_shm/platform/cancellation.h"
#include "hermes_shm/platform/file_descriptor.h"
#include "hermes_shm/platform/process.h"
#include "hermes_shm/platform/shared_memory.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HSHM_WITH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define HSHM_WITH_TSAN 1
#endif
#ifdef HSHM_WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace hshm {
namespace {

#ifdef HSHM_WITH_TSAN
// ThreadSanitizer knows no fences and does not see what the kernel orders. Where members of one
// process stand for processes, this tells it that a release precedes the query that notices it.
char released_bytes;
void NoteRelease() noexcept { __tsan_release(&released_bytes); }
void SeeWhatHoldersWrote() noexcept { __tsan_acquire(&released_bytes); }
#else
void NoteRelease() noexcept {}
void SeeWhatHoldersWrote() noexcept {
  // pairs with the end of the holder: the kernel unlocks after its last instruction.
  std::atomic_thread_fence(std::memory_order_acquire);
}
#endif

// Held by Hold and across every fork, so that no child copies a description between its opening
// and MADV_DONTFORK. The one word of process-wide state in this layer: fork is process-wide too.
pthread_mutex_t fork_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_once_t fork_handlers = PTHREAD_ONCE_INIT;
int fork_handlers_errno = 0;

void LockForks() { pthread_mutex_lock(&fork_lock); }
void UnlockForks() { pthread_mutex_unlock(&fork_lock); }
void RegisterForkHandlers() {
  fork_handlers_errno = pthread_atfork(LockForks, UnlockForks, UnlockForks);
}

class NoForkScope {
 public:
  NoForkScope() noexcept { LockForks(); }
  ~NoForkScope() { UnlockForks(); }
  NoForkScope(const NoForkScope&) = delete;
  NoForkScope& operator=(const NoForkScope&) = delete;

 private:
  NoCancellation no_cancellation_;
};

struct flock LockOf(uint64_t byte, ByteLockMode mode) noexcept {
  struct flock lock = {};
  lock.l_type = mode == ByteLockMode::kExclusive ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(byte);
  lock.l_len = 1;
  return lock;
}

/** EAGAIN means to callers of Hold that another holder is in the way, and nothing else. */
int InsteadOfAgain(int error, int other) noexcept { return error == EAGAIN ? other : error; }

/** Opens the file behind fd once more, with a description of its own. */
int OpenAgain(int fd, FileDescriptor* again) noexcept {
  struct stat status = {};
  if (fstat(fd, &status) != 0) return errno;
  char path[32];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  *again = FileDescriptor(open(path, O_RDWR | O_CLOEXEC));
  if (again->IsOpen()) return 0;
  if (errno == ENOENT) return ENOSYS;   // fd is open, so it is /proc that is not there
  return InsteadOfAgain(errno, EBUSY);  // open(2): somebody has a lease on the file
}

int LockDescription(int fd, uint64_t byte, ByteLockMode mode) noexcept {
  struct flock lock = LockOf(byte, mode);
  int result = 0;
  do {
    result = fcntl(fd, F_OFD_SETLK, &lock);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return 0;
  return errno == EACCES ? EAGAIN : errno;  // fcntl(2): either may mean that it is taken
}

/** Maps one page that keeps the description of fd, in this process only. */
int KeepByPage(int fd, uint64_t bytes, void** page) noexcept {
  void* mapped = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  // mmap(2), madvise(2): EAGAIN where all memory is locked and the limit of that is reached.
  if (mapped == MAP_FAILED) return InsteadOfAgain(errno, ENOMEM);
  if (madvise(mapped, bytes, MADV_DONTFORK) != 0) {
    const int error = InsteadOfAgain(errno, ENOMEM);
    munmap(mapped, bytes);
    return error;
  }
  *page = mapped;
  return 0;
}

}  // namespace

int HeldByte::Hold(int fd, uint64_t byte, ByteLockMode mode) noexcept {
  Release();
  pthread_once(&fork_handlers, RegisterForkHandlers);
  if (fork_handlers_errno != 0) return fork_handlers_errno;
  const NoForkScope no_fork;
  FileDescriptor own;
  int error = OpenAgain(fd, &own);
  if (error == 0) error = LockDescription(own.get(), byte, mode);
  if (error == 0) error = FilePageBytes(fd, &page_bytes_);
  if (error == 0) error = KeepByPage(own.get(), page_bytes_, &page_);
  pid_ = ProcessId();
  return error;
}

void HeldByte::Release() noexcept {
  void* page = std::exchange(page_, nullptr);
  if (page == nullptr || pid_ != ProcessId()) return;
  NoteRelease();
  munmap(page, page_bytes_);
}

bool ByteIsLocked(int fd, uint64_t byte) noexcept {
  struct flock lock = LockOf(byte, ByteLockMode::kExclusive);
  const int saved_errno = errno;
  const bool answered = fcntl(fd, F_OFD_GETLK, &lock) == 0;
  errno = saved_errno;
  SeeWhatHoldersWrote();
  return !answered || lock.l_type != F_UNLCK;
}

}  // namespace hshm
