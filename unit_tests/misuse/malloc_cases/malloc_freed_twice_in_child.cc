/** Freed by a parent and by the child that it forked afterwards. */
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>

#include "misuse/misuse_case.h"

namespace hshm::misuse {

HSHM_MISUSE(malloc_freed_twice_in_child, "DoubleFree: Free") {
  void* const block = Opaque(std::malloc(100));
  std::free(block);
  AtTheCall();
  const pid_t child = fork();
  if (child == 0) {
    std::free(block);
    _exit(0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGABRT) std::abort();
}

}  // namespace hshm::misuse
