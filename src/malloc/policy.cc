#include "malloc/policy.h"

#include <unistd.h>

#include "malloc/settings.h"

namespace hshm::malloc_library {

constinit Atomic<Policy> known_policy{Policy::kUnknown};

namespace {

constinit bool is_loaded = false;

/** The loader's own first calls come before the system's library knows the environment; from here
 * on an empty environment is empty. */
__attribute__((constructor)) void OnLoad() { is_loaded = true; }

}  // namespace

bool HasEnvironment() noexcept { return environ != nullptr || is_loaded; }

Policy FindPolicy() noexcept {
  if (!HasEnvironment()) return Policy::kUnknown;
  const Policy policy = WantsChecked() ? Policy::kChecked : Policy::kFast;
  known_policy.store(policy, std::memory_order_relaxed);  // relaxed: who comes later finds the same
  return policy;
}

}  // namespace hshm::malloc_library
