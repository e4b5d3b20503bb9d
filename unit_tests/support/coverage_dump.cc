/**
 * Only in the build that counts branches: a process that ends without the functions of exit() saves
 * its counts before. The tests' children end by _exit(), abort() or a SIGKILL to themselves; these
 * functions stand before the system's. The counters lie in private memory, so that a child has its
 * own. Who is killed by another process loses what it has counted.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

extern "C" {

void __gcov_dump();  // of libgcov
void __gcov_reset();

}  // extern "C"

namespace {

/** Also of a process that a test has given no descriptor, no file size or no address more: root's
 * may have them again. */
void SaveCounts() {
  const rlimit enough = {RLIM_INFINITY, RLIM_INFINITY};
  const rlimit descriptors = {1024, 1024};
  setrlimit(RLIMIT_NOFILE, &descriptors);
  setrlimit(RLIMIT_FSIZE, &enough);
  setrlimit(RLIMIT_AS, &enough);
  __gcov_dump();
}

}  // namespace

extern "C" {

[[noreturn]] void _exit(int status) {
  SaveCounts();
  syscall(SYS_exit_group, status);
  __builtin_unreachable();
}

[[noreturn]] void abort() noexcept {
  SaveCounts();
  __gcov_reset();  // a handler may go on
  raise(SIGABRT);
  signal(SIGABRT, SIG_DFL);
  raise(SIGABRT);
  __builtin_trap();
}

int kill(pid_t process, int number) {
  if (process == getpid() && number == SIGKILL) SaveCounts();
  return static_cast<int>(syscall(SYS_kill, process, number));
}

int raise(int number) noexcept {
  if (number == SIGKILL) SaveCounts();
  return static_cast<int>(syscall(SYS_tgkill, getpid(), gettid(), number));
}

}  // extern "C"
