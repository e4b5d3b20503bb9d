/**
 * What the library offers to kernels, compiled, linked and, where there is a GPU, run. One source
 * for CUDA and HIP. Without a GPU it ends with 77, which CTest shows as skipped.
 */
#include <cstdio>

#include "gpu/cases.h"
#include "gpu/runtime.h"

namespace hshm::test {
namespace {
int failures = 0;
}  // namespace

void Expect(bool holds, const char* claim) {
  if (holds) return;
  std::printf("does not hold: %s\n", claim);
  ++failures;
}
}  // namespace hshm::test

int main() {
  if (hshm::test::CountGpus() == 0) return hshm::test::kSkipped;
  hshm::test::AtomicCases();
  hshm::test::AllocatorCases();
  hshm::test::RingCases();
  hshm::test::DocumentedCase();
  std::printf("%d claims do not hold\n", hshm::test::failures);
  return hshm::test::failures == 0 ? 0 : 1;
}
