#ifndef HSHM_UNIT_TESTS_BACKEND_FAILING_CALLS_H_
#define HSHM_UNIT_TESTS_BACKEND_FAILING_CALLS_H_

#include <functional>
#include <string>

namespace hshm::ipc::test {

/** What comes of the library's system calls. */
struct Fault {
  int countdown_ = 0;  // 0: none will come
  int os_errno_ = 0;
  std::string call_;         // that failed
  std::string before_call_;  // by name: what another process does before the next of these
  std::function<void()> before_;

  bool Comes(const char* call);
};
extern Fault fault;

/** Which allocation of private memory fails, counted from now on; 0: none. */
extern int news_until_fault;

/** In the environment of a process that can have no handlers of forks. */
inline constexpr const char* kNoForkHandlers = "HSHM_TEST_NO_FORK_HANDLERS";

}  // namespace hshm::ipc::test

#endif  // HSHM_UNIT_TESTS_BACKEND_FAILING_CALLS_H_
