#ifndef HSHM_UNIT_TESTS_SUPPORT_SEED_H_
#define HSHM_UNIT_TESTS_SUPPORT_SEED_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace hshm::test {

/** A seed for a random test, printed; HSHM_TEST_SEED repeats one. */
inline uint64_t PrintedSeed(const char* test) {
  const char* fixed = std::getenv("HSHM_TEST_SEED");
  const uint64_t seed =
      fixed != nullptr ? std::strtoull(fixed, nullptr, 10) : std::random_device()();
  std::printf("%s: HSHM_TEST_SEED=%llu\n", test, static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_SEED_H_
