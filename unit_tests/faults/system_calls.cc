#include "faults/system_calls.h"

#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

namespace hshm::test {
namespace {

/**
 * Manual pages, section 2, of Linux 6. Where several calls share a page (open and openat, stat and
 * newfstatat), each has the errors of all.
 */
const std::vector<int> kOpenErrors = {
    EACCES,     EBADF,     EBUSY,  EDQUOT,       EEXIST, EFAULT, EFBIG,   EINTR,  EINVAL,
    EISDIR,     ELOOP,     EMFILE, ENODEV,       ENFILE, ENOENT, ENOMEM,  ENOSPC, ENXIO,
    EOPNOTSUPP, EOVERFLOW, EPERM,  ENAMETOOLONG, EROFS,  EAGAIN, ENOTDIR, ETXTBSY};
const std::vector<int> kStatErrors = {EACCES, EBADF,  EFAULT,  EINVAL,    ELOOP,
                                      ENOENT, ENOMEM, ENOTDIR, EOVERFLOW, ENAMETOOLONG};
const std::vector<int> kStatfsErrors = {EACCES, EBADF,  EFAULT, EINTR,   EIO,       ELOOP,
                                        ENOENT, ENOMEM, ENOSYS, ENOTDIR, EOVERFLOW, ENAMETOOLONG};
const std::vector<int> kLinkErrors = {EACCES, EBADF, EDQUOT, EEXIST,  EFAULT,      EINVAL,
                                      EIO,    ELOOP, EMLINK, ENOENT,  ENOMEM,      ENOSPC,
                                      EPERM,  EROFS, EXDEV,  ENOTDIR, ENAMETOOLONG};
const std::vector<int> kUnlinkErrors = {EACCES, EBADF,   EBUSY, EFAULT,      EINVAL,
                                        EIO,    EISDIR,  ELOOP, ENOENT,      ENOMEM,
                                        EPERM,  ENOTDIR, EROFS, ENAMETOOLONG};
const std::vector<int> kAccessErrors = {EACCES,  EBADF,   EFAULT,      EINVAL, EIO,
                                        ELOOP,   ENOENT,  ENOMEM,      EPERM,  EROFS,
                                        ENOTDIR, ETXTBSY, ENAMETOOLONG};
const std::vector<int> kReadErrors = {EAGAIN, EBADF,  EFAULT, EINTR,  EINVAL,
                                      EIO,    EISDIR, ENXIO,  ESPIPE, EOVERFLOW};
const std::vector<SystemCallInfo> kTable = {
#ifdef SYS_open
    {SYS_open, "open", kOpenErrors},
    {SYS_stat, "stat", kStatErrors},
    {SYS_lstat, "lstat", kStatErrors},
    {SYS_access, "access", kAccessErrors},
    {SYS_unlink, "unlink", kUnlinkErrors},
    {SYS_readlink,
     "readlink",
     {EACCES, EFAULT, EINVAL, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR, ENAMETOOLONG}},
#endif
    {SYS_openat, "openat", kOpenErrors},
    {SYS_close, "close", {EBADF, EINTR, EIO, ENOSPC, EDQUOT}},
    {SYS_fstat, "fstat", kStatErrors},
#ifdef SYS_newfstatat
    {SYS_newfstatat, "newfstatat", kStatErrors},
#endif
    {SYS_statx, "statx", kStatErrors},
    {SYS_statfs, "statfs", kStatfsErrors},
    {SYS_fstatfs, "fstatfs", kStatfsErrors},
    {SYS_faccessat, "faccessat", kAccessErrors},
#ifdef SYS_faccessat2
    {SYS_faccessat2, "faccessat2", kAccessErrors},
#endif
    {SYS_unlinkat, "unlinkat", kUnlinkErrors},
    {SYS_linkat, "linkat", kLinkErrors},
    {SYS_renameat2,
     "renameat2",
     {EACCES, EBUSY, EDQUOT, EEXIST, EFAULT, EINVAL, EISDIR, ELOOP, EMLINK, ENOENT, ENOMEM, ENOSPC,
      ENOTDIR, ENOTEMPTY, EPERM, EROFS, EXDEV, ENAMETOOLONG}},
    {SYS_readlinkat,
     "readlinkat",
     {EACCES, EBADF, EFAULT, EINVAL, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR, ENAMETOOLONG}},
    {SYS_read, "read", kReadErrors},
    {SYS_pread64, "pread64", kReadErrors},
    {SYS_write,
     "write",
     {EAGAIN, EBADF, EDQUOT, EFAULT, EFBIG, EINTR, EINVAL, EIO, ENOSPC, EPERM, EPIPE}},
    {SYS_lseek, "lseek", {EBADF, EINVAL, ENXIO, EOVERFLOW, ESPIPE}},
    {SYS_getdents64, "getdents64", {EBADF, EFAULT, EINVAL, ENOENT, ENOTDIR}},
    {SYS_ftruncate,
     "ftruncate",
     {EACCES, EBADF, EFAULT, EFBIG, EINTR, EINVAL, EIO, EISDIR, ELOOP, ENOENT, ENOTDIR, EPERM,
      EROFS, ETXTBSY, ENAMETOOLONG}},
    {SYS_fallocate,
     "fallocate",
     {EBADF, EFBIG, EINTR, EINVAL, EIO, ENODEV, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, ESPIPE,
      ETXTBSY}},
    {SYS_fchmod, "fchmod", {EACCES, EBADF, EFAULT, EIO, ELOOP, ENOENT, ENOMEM, EPERM, EROFS}},
    {SYS_fchown,
     "fchown",
     {EACCES, EBADF, EFAULT, EIO, ELOOP, ENOENT, ENOMEM, EPERM, EROFS, EINVAL}},
    {SYS_fcntl,
     "fcntl",
     {EACCES, EAGAIN, EBADF, EBUSY, EDEADLK, EFAULT, EINTR, EINVAL, EMFILE, ENOLCK, ENOTDIR,
      EPERM}},
    {SYS_fsync, "fsync", {EBADF, EINTR, EIO, ENOSPC, EDQUOT, EROFS, EINVAL}},
    {SYS_msync, "msync", {EBUSY, EINVAL, ENOMEM, EIO}},
    {SYS_memfd_create, "memfd_create", {EFAULT, EINVAL, EMFILE, ENFILE, ENOMEM, EPERM, EACCES}},
    {SYS_mmap,
     "mmap",
     {EACCES, EAGAIN, EBADF, EEXIST, EINVAL, ENFILE, ENODEV, ENOMEM, EOVERFLOW, EPERM, ETXTBSY}},
    {SYS_munmap, "munmap", {EINVAL, ENOMEM}},
    {SYS_mremap, "mremap", {EAGAIN, EFAULT, EINVAL, ENOMEM}},
    {SYS_mprotect, "mprotect", {EACCES, EINVAL, ENOMEM}},
    {SYS_mincore, "mincore", {EAGAIN, EFAULT, EINVAL, ENOMEM}},
    {SYS_madvise,
     "madvise",
     {EACCES, EAGAIN, EBADF, EBUSY, EFAULT, EHWPOISON, EINVAL, EIO, ENOMEM, EPERM, EINTR}},
    {SYS_mbind, "mbind", {EFAULT, EINVAL, EIO, ENOMEM, EPERM, ENOSYS}},
    {SYS_get_mempolicy, "get_mempolicy", {EFAULT, EINVAL, ENOSYS}},
    {SYS_brk, "brk", {ENOMEM}},
    {SYS_prlimit64, "prlimit64", {EFAULT, EINVAL, EPERM, ESRCH}},
    {SYS_futex,
     "futex",
     {EACCES, EAGAIN, EDEADLK, EFAULT, EINTR, EINVAL, ENFILE, ENOMEM, ENOSYS, EPERM, ESRCH,
      ETIMEDOUT}},
    {SYS_sched_getaffinity, "sched_getaffinity", {EFAULT, EINVAL, EPERM, ESRCH}},
    {SYS_sched_setaffinity, "sched_setaffinity", {EFAULT, EINVAL, EPERM, ESRCH}},
    {SYS_rt_sigprocmask, "rt_sigprocmask", {EFAULT, EINVAL}},
    {SYS_rt_sigaction, "rt_sigaction", {EFAULT, EINVAL}},
    {SYS_getrandom, "getrandom", {EAGAIN, EFAULT, EINTR, EINVAL, ENOSYS}},
    {SYS_getcwd, "getcwd", {EACCES, EFAULT, EINVAL, ENAMETOOLONG, ENOENT, ENOMEM, ERANGE}},
    {SYS_uname, "uname", {EFAULT}},
    {SYS_sysinfo, "sysinfo", {EFAULT}},
    {SYS_getcpu, "getcpu", {EFAULT}},
    {SYS_getpid, "getpid", {}},
    {SYS_gettid, "gettid", {}},
    {SYS_getppid, "getppid", {}},
    {SYS_getuid, "getuid", {}},
    {SYS_geteuid, "geteuid", {}},
    {SYS_getegid, "getegid", {}},
    {SYS_getgid, "getgid", {}},
    {SYS_getgroups, "getgroups", {EFAULT, EINVAL}},
    {SYS_sched_yield, "sched_yield", {}},
    {SYS_exit_group, "exit_group", {}},
};

}  // namespace

bool SystemCallInfo::CanFailWith(int os_errno) const {
  return std::find(errors_.begin(), errors_.end(), os_errno) != errors_.end();
}

const SystemCallInfo* FindSystemCall(int number) {
  for (const SystemCallInfo& info : kTable) {
    if (info.number_ == number) return &info;
  }
  return nullptr;
}

}  // namespace hshm::test
