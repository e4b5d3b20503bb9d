#include "contract/harness.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"

#define HSHM_CONTRACT_NAME "SmallMultiProcessAllocator"

namespace {
using Alloc = hshm::ipc::SmallMultiProcessAllocator;
struct Traits : contract::Defaults {
  static constexpr uint64_t kRegionBytes = 1 << 20;
  static constexpr bool kFindsMisuse = HSHM_CHECKED;  // the policy Fast notes nothing of blocks
};
}  // namespace

#include "contract/contract_suite.h"
