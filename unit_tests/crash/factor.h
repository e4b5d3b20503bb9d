#ifndef HSHM_UNIT_TESTS_CRASH_FACTOR_H_
#define HSHM_UNIT_TESTS_CRASH_FACTOR_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace hshm::ipc::crash {

/** HSHM_CRASH_FACTOR, or 1. */
inline double Factor() {
  const char* factor = std::getenv("HSHM_CRASH_FACTOR");
  return factor == nullptr ? 1 : std::strtod(factor, nullptr);
}

/** Plays or deaths, of which the test suite has `count`: HSHM_CRASH_FACTOR=20 makes it twenty times
 * as many, for a soak, and 0.5 half of them, where others have run them all. At least one. */
inline uint32_t Times(uint32_t count) {
  return static_cast<uint32_t>(std::max(std::lround(count * Factor()), 1L));
}

/** What all plays together meet at least. A sample, of less than a tenth of them, is run for which
 * code it runs, and has to keep the promises alone. */
inline uint64_t Least(uint64_t count) { return Factor() < 0.1 ? 0 : count; }

}  // namespace hshm::ipc::crash

#endif  // HSHM_UNIT_TESTS_CRASH_FACTOR_H_
