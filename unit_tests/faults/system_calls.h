#ifndef HSHM_UNIT_TESTS_FAULTS_SYSTEM_CALLS_H_
#define HSHM_UNIT_TESTS_FAULTS_SYSTEM_CALLS_H_

#include <vector>

namespace hshm::test {

/** One system call and what it can fail with. */
struct SystemCallInfo {
  int number_;
  const char* name_;
  /** The errors that its manual page lists, for any use of it. Empty: it cannot fail. */
  std::vector<int> errors_;

  bool CanFailWith(int os_errno) const;
};

/** Null for a call that is not in the table: the test that meets it demands an entry. */
const SystemCallInfo* FindSystemCall(int number);

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_FAULTS_SYSTEM_CALLS_H_
