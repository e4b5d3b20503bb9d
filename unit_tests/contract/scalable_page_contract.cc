#include "hermes_shm/memory/allocator/scalable_page_allocator.h"

#include "contract/harness.h"

#define HSHM_CONTRACT_NAME "ScalablePageAllocator"

namespace {
using Alloc = hshm::ipc::ScalablePageAllocator;
struct Traits : contract::Defaults {};
}  // namespace

#include "contract/contract_suite.h"
