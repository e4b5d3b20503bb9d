#ifndef HSHM_UNIT_TESTS_FAULTS_FAULT_TRIALS_H_
#define HSHM_UNIT_TESTS_FAULTS_FAULT_TRIALS_H_

#include <string>

#include "faults/fault_job.h"

namespace hshm::ipc::test {

/**
 * Takes jobs of a kind through their lives, each time with another system call failing: every call
 * with every error of its manual page, or a sample of them. What is wrong fails the test case that
 * calls this. `directory` is where the kind's files lie.
 */
void FailEachCall(const Kind& kind, const std::string& directory);

}  // namespace hshm::ipc::test

#endif  // HSHM_UNIT_TESTS_FAULTS_FAULT_TRIALS_H_
