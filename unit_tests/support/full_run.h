#ifndef HSHM_UNIT_TESTS_SUPPORT_FULL_RUN_H_
#define HSHM_UNIT_TESTS_SUPPORT_FULL_RUN_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace hshm::test {

/** How often to do a thing: every day, or with HSHM_TEST_FULL=1, when it may take minutes. */
inline uint64_t TimesOf(uint64_t daily, uint64_t full) {
  const char* value = std::getenv("HSHM_TEST_FULL");
  return value != nullptr && std::strcmp(value, "1") == 0 ? full : daily;
}

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_FULL_RUN_H_
