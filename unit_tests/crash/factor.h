#ifndef HSHM_UNIT_TESTS_CRASH_FACTOR_H_
#define HSHM_UNIT_TESTS_CRASH_FACTOR_H_

#include <cstdint>
#include <cstdlib>

namespace hshm::ipc::crash {

/** For a soak: so many times the plays and deaths of the test suite, by HSHM_CRASH_FACTOR. */
inline uint32_t Factor() {
  const char* factor = std::getenv("HSHM_CRASH_FACTOR");
  return factor == nullptr ? 1 : static_cast<uint32_t>(std::strtoul(factor, nullptr, 10));
}

}  // namespace hshm::ipc::crash

#endif  // HSHM_UNIT_TESTS_CRASH_FACTOR_H_
