#ifndef HSHM_UNIT_TESTS_CRASH_FACTOR_H_
#define HSHM_UNIT_TESTS_CRASH_FACTOR_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace hshm::ipc::crash {

/** Plays or deaths, of which the test suite has `count`: HSHM_CRASH_FACTOR=20 makes it twenty times
 * as many, for a soak, and 0.5 half of them, where others have run them all. At least one. */
inline uint32_t Times(uint32_t count) {
  const char* factor = std::getenv("HSHM_CRASH_FACTOR");
  if (factor == nullptr) return count;
  return static_cast<uint32_t>(std::max(std::lround(count * std::strtod(factor, nullptr)), 1L));
}

}  // namespace hshm::ipc::crash

#endif  // HSHM_UNIT_TESTS_CRASH_FACTOR_H_
