#ifndef HSHM_UNIT_TESTS_SUPPORT_SKIP_H_
#define HSHM_UNIT_TESTS_SUPPORT_SKIP_H_

#include <string>

namespace hshm::test {

/**
 * Ends the test case: the rest of it cannot be tried here, "this user may not mount a file system".
 * In the thread that runs the case. What was demanded before stands; a program of which all cases
 * end so is skipped for CTest, and one with some of them says at its end how many.
 */
[[noreturn]] void Skip(const std::string& reason);

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_SKIP_H_
