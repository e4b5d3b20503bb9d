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

constexpr __rlimit_resource kLimits[] = {RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_AS};

/** Also of a process that a test has left no descriptor, no file size or no address more: the soft
 * limits are what setrlimit below has lowered. */
void SaveCounts() {
  for (const __rlimit_resource resource : kLimits) {
    rlimit limit = {};
    getrlimit(resource, &limit);
    limit.rlim_cur = limit.rlim_max;
    syscall(SYS_prlimit64, 0, resource, &limit, nullptr);
  }
  __gcov_dump();
}

}  // namespace

extern "C" {

/** The hard limit stays: only who may override limits could raise it again. */
int setrlimit(__rlimit_resource_t resource, const rlimit* limits) noexcept {
  rlimit limit = {};
  getrlimit(resource, &limit);
  limit.rlim_cur = limits->rlim_cur;
  return static_cast<int>(syscall(SYS_prlimit64, 0, resource, &limit, nullptr));
}

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
