#ifndef HSHM_UNIT_TESTS_BACKEND_CHILD_H_
#define HSHM_UNIT_TESTS_BACKEND_CHILD_H_

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "support/catch.h"

// A sanitizer takes terabytes of addresses, so that limits of the address space cannot be tried.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HSHM_TEST_HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HSHM_TEST_HAS_SANITIZER 1
#endif
#endif
#ifndef HSHM_TEST_HAS_SANITIZER
#define HSHM_TEST_HAS_SANITIZER 0
#endif

namespace hshm::ipc::test {

/** Runs a body that returns an int in a forked child. @return its result, or -1 when it died */
template <typename Body>
int RunInChild(Body body) {
  const pid_t pid = fork();
  if (pid == 0) {
    int result = 255;
    try {
      result = body();
    } catch (...) {}
    _exit(result);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/** A child that has run its body and then lives until Kill, or the end of this object. */
class LivingChild {
 public:
  template <typename Body>
  explicit LivingChild(Body body) {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    pid_ = fork();
    if (pid_ == 0) {
      try {
        body();
        if (write(ready[1], "r", 1) == 1) {
          for (;;) pause();
        }
      } catch (...) {}
      _exit(255);
    }
    close(ready[1]);
    char byte = 0;
    is_ready_ = read(ready[0], &byte, 1) == 1;
    close(ready[0]);
  }
  ~LivingChild() { Kill(); }
  LivingChild(const LivingChild&) = delete;
  LivingChild& operator=(const LivingChild&) = delete;

  bool is_ready() const { return is_ready_; }
  pid_t pid() const { return pid_; }

  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  bool is_ready_ = false;
};

}  // namespace hshm::ipc::test

#endif  // HSHM_UNIT_TESTS_BACKEND_CHILD_H_
