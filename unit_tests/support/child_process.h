#ifndef HSHM_UNIT_TESTS_SUPPORT_CHILD_PROCESS_H_
#define HSHM_UNIT_TESTS_SUPPORT_CHILD_PROCESS_H_

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace hshm::test {

/** A pipe over which one process tells another that it has come so far. */
class Signpost {
 public:
  Signpost() {
    if (pipe2(ends_, O_CLOEXEC) != 0) std::abort();
  }
  ~Signpost() {
    close(ends_[0]);
    close(ends_[1]);
  }
  Signpost(const Signpost&) = delete;
  Signpost& operator=(const Signpost&) = delete;

  void Tell() const {
    if (write(ends_[1], "x", 1) != 1) std::abort();
  }
  /** Blocks until somebody tells. */
  void Await() const {
    char told = 0;
    if (read(ends_[0], &told, 1) != 1) std::abort();
  }
  int write_end() const { return ends_[1]; }

 private:
  int ends_[2];
};

/**
 * A forked child that runs body() and ends with its result. Killed and reaped at the latest when
 * this object goes, and by the kernel when the test program itself ends.
 */
class ChildProcess {
 public:
  template <typename Body>
  explicit ChildProcess(Body body) {
    std::fflush(nullptr);
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) std::abort();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(99);
      _exit(body());
    }
  }
  ~ChildProcess() {
    if (pid_ > 0) Kill();
  }
  ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  ChildProcess& operator=(ChildProcess&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int number) const { kill(pid_, number); }

  /** Blocks until it is stopped by a signal. */
  void AwaitStop() const {
    int status = 0;
    if (waitpid(pid_, &status, WUNTRACED) != pid_ || !WIFSTOPPED(status)) std::abort();
  }
  /** Kills it; it is dead, and a zombie, when this returns. */
  void KillWithoutReaping() const {
    Signal(SIGKILL);
    siginfo_t info = {};
    waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  }
  /** @return the exit status, or minus the signal that ended it */
  int Kill() {
    Signal(SIGKILL);
    return Wait();
  }
  int Wait() {
    int status = 0;
    const pid_t reaped = waitpid(std::exchange(pid_, -1), &status, 0);
    if (reaped < 0) std::abort();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  /** True while it runs, or is stopped. */
  bool IsRunning() const {
    siginfo_t info = {};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  }

 private:
  pid_t pid_ = -1;
};

/** How a body ended that was run in a child of its own. */
struct Ending {
  int status_ = 0;      // as ChildProcess::Wait
  std::string errors_;  // what it wrote to standard error
};

/** Runs body() in a child and collects what it says to standard error; it returns 0 when it lived.
 */
template <typename Body>
Ending RunInChild(Body body) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  ChildProcess child([&] {
    dup2(ends[1], STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);  // the test framework would report the signal
    body();
    return 0;
  });
  close(ends[1]);
  Ending ending;
  char text[512];
  for (ssize_t length = 0; (length = read(ends[0], text, sizeof(text))) > 0;) {
    ending.errors_.append(text, static_cast<size_t>(length));
  }
  close(ends[0]);
  ending.status_ = child.Wait();
  return ending;
}

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_CHILD_PROCESS_H_
