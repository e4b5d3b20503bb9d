/** System calls of this test program, which the library finds before the system's. */
#include "backend/failing_calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

#include "support/instead_of_system.h"

namespace hshm::ipc::test {

Fault fault;
int news_until_fault = 0;

bool Fault::Comes(const char* call) {
  if (before_ != nullptr && before_call_ == call) std::exchange(before_, nullptr)();
  if (countdown_ == 0 || --countdown_ != 0) return false;
  call_ = call;
  errno = os_errno_;
  return true;
}

}  // namespace hshm::ipc::test

using hshm::ipc::test::fault;

HSHM_TEST_INSTEAD int open(const char* path, int flags, ...) {
  if (fault.Comes("open")) return -1;
  va_list rest;
  va_start(rest, flags);
  const int fd = hshm::test::SystemOpen(path, flags, rest);
  va_end(rest);
  return fd;
}
HSHM_TEST_INSTEAD int fcntl(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* const argument = va_arg(rest, void*);
  va_end(rest);
  if (fault.Comes("fcntl")) return -1;
  return static_cast<int>(syscall(SYS_fcntl, fd, command, argument));
}
HSHM_TEST_INSTEAD int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (fault.Comes("fallocate")) return -1;
  return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, length));
}
HSHM_TEST_INSTEAD int ftruncate(int fd, off_t length) noexcept {
  if (fault.Comes("ftruncate")) return -1;
  return static_cast<int>(syscall(SYS_ftruncate, fd, length));
}
HSHM_TEST_INSTEAD int fchmod(int fd, mode_t mode) noexcept {
  if (fault.Comes("fchmod")) return -1;
  return static_cast<int>(syscall(SYS_fchmod, fd, mode));
}
HSHM_TEST_INSTEAD int linkat(int from_fd, const char* from, int to_fd, const char* to,
                             int flags) noexcept {
  if (fault.Comes("linkat")) return -1;
  return static_cast<int>(syscall(SYS_linkat, from_fd, from, to_fd, to, flags));
}
HSHM_TEST_INSTEAD int memfd_create(const char* name, unsigned flags) noexcept {
  if (fault.Comes("memfd_create")) return -1;
  return static_cast<int>(syscall(SYS_memfd_create, name, flags));
}
HSHM_TEST_INSTEAD void* mmap(void* hint, size_t bytes, int access, int flags, int fd,
                             off_t offset) noexcept {
  if (fault.Comes("mmap")) return MAP_FAILED;
  return reinterpret_cast<void*>(syscall(SYS_mmap, hint, bytes, access, flags, fd, offset));
}
HSHM_TEST_INSTEAD int madvise(void* base, size_t bytes, int advice) noexcept {
  if (fault.Comes("madvise")) return -1;
  return static_cast<int>(syscall(SYS_madvise, base, bytes, advice));
}
HSHM_TEST_INSTEAD int msync(void* base, size_t bytes, int flags) {
  if (fault.Comes("msync")) return -1;
  return static_cast<int>(syscall(SYS_msync, base, bytes, flags));
}
HSHM_TEST_INSTEAD int fstat(int fd, struct stat* status) noexcept {
  if (fault.Comes("fstat")) return -1;
  return static_cast<int>(syscall(SYS_fstat, fd, status));
}
HSHM_TEST_INSTEAD int access(const char* path, int mode) noexcept {
  if (fault.Comes("access")) return -1;
  return static_cast<int>(syscall(SYS_access, path, mode));
}
HSHM_TEST_INSTEAD ssize_t pread(int fd, void* buffer, size_t bytes, off_t offset) {
  if (fault.Comes("pread")) return -1;
  return syscall(SYS_pread64, fd, buffer, bytes, offset);
}
HSHM_TEST_INSTEAD int stat(const char* path, struct stat* status) noexcept {
  if (fault.Comes("stat")) return -1;
  return static_cast<int>(syscall(SYS_stat, path, status));
}
HSHM_TEST_INSTEAD int lstat(const char* path, struct stat* status) noexcept {
  if (fault.Comes("lstat")) return -1;
  return static_cast<int>(syscall(SYS_lstat, path, status));
}
HSHM_TEST_INSTEAD int unlink(const char* path) noexcept {
  if (fault.Comes("unlink")) return -1;
  return static_cast<int>(syscall(SYS_unlink, path));
}
HSHM_TEST_INSTEAD int statvfs(const char* path, struct statvfs* room) noexcept {
  if (fault.Comes("statvfs")) return -1;
  struct statfs found = {};
  const auto result = static_cast<int>(syscall(SYS_statfs, path, &found));
  *room = {};
  room->f_frsize = static_cast<unsigned long>(found.f_frsize);
  room->f_blocks = found.f_blocks;
  room->f_bavail = found.f_bavail;
  return result;
}
HSHM_TEST_INSTEAD int pthread_setspecific(pthread_key_t key, const void* value) noexcept {
  if (fault.Comes("pthread_setspecific")) return fault.os_errno_;
  static const auto real =
      reinterpret_cast<decltype(&pthread_setspecific)>(dlsym(RTLD_NEXT, "pthread_setspecific"));
  return real(key, value);
}

/** What pthread_atfork comes to. */
HSHM_TEST_INSTEAD int __register_atfork(void (*prepare)(), void (*parent)(), void (*child)(),
                                        void* library) {
  if (std::getenv(hshm::ipc::test::kNoForkHandlers) != nullptr) return ENOMEM;
  static const auto real =
      reinterpret_cast<decltype(&__register_atfork)>(dlsym(RTLD_NEXT, "__register_atfork"));
  return real(prepare, parent, child, library);
}

namespace {

void* New(size_t bytes, size_t alignment) {
  using hshm::ipc::test::news_until_fault;
  if (news_until_fault != 0 && --news_until_fault == 0) throw std::bad_alloc();
  void* const block = std::aligned_alloc(alignment, (bytes / alignment + 1) * alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

}  // namespace

void* operator new(size_t bytes) { return New(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return New(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, size_t, std::align_val_t) noexcept { std::free(block); }
