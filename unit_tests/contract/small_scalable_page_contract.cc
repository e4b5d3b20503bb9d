#include "hermes_shm/memory/allocator/scalable_page_allocator.h"

#include "contract/harness.h"

#define HSHM_CONTRACT_NAME "SmallScalablePageAllocator"

namespace {
using Alloc = hshm::ipc::SmallScalablePageAllocator;
struct Traits : contract::Defaults {
  static constexpr uint64_t kRegionBytes = 1 << 20;
};
}  // namespace

#include "contract/contract_suite.h"
