#include "contract/harness.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"

#define HSHM_CONTRACT_NAME "MultiProcessAllocator"

namespace {
using Alloc = hshm::ipc::MultiProcessAllocator;
struct Traits : contract::Defaults {
  static constexpr bool kFindsMisuse = HSHM_CHECKED;  // the policy Fast notes nothing of blocks
};
}  // namespace

#include "contract/contract_suite.h"
