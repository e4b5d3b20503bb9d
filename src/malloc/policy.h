#ifndef HSHM_SRC_MALLOC_POLICY_H_
#define HSHM_SRC_MALLOC_POLICY_H_

#include <cstdint>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/memory/allocator/multi_process/layout.h"
#include "hermes_shm/sync/atomic.h"

/**
 * Which of two heaps is the program's malloc: that of the policy Fast, or, with HSHM_CHECKED=1 in
 * the environment, that of Checked. The first call that can see the environment decides, once.
 *
 * What Fast does at once never asks. Under Checked no thread has a heap of Fast, so there all of
 * its calls fail, and what comes after that asks here.
 */
namespace hshm::malloc_library {

using FastPages = ipc::multi_process::LargePages;
using CheckedPages = ipc::multi_process::CheckedLargePages;

enum class Policy : uint32_t { kUnknown, kFast, kChecked };

extern constinit Atomic<Policy> known_policy;

/** False before the program's environment is there: nobody has a heap then. */
bool HasEnvironment() noexcept;
/** Reads the environment, if it is there. Stops the program for a value that cannot be read. */
Policy FindPolicy() noexcept;

HSHM_INLINE Policy KnownPolicy() noexcept {
  return known_policy.load(std::memory_order_relaxed);  // relaxed: changes once
}
/** False as long as nobody can know. */
HSHM_INLINE bool IsChecked() noexcept {
  const Policy policy = KnownPolicy();
  if (HSHM_LIKELY(policy == Policy::kFast)) return false;
  return policy == Policy::kChecked || FindPolicy() == Policy::kChecked;
}

}  // namespace hshm::malloc_library

#endif  // HSHM_SRC_MALLOC_POLICY_H_
