#include "contract/harness.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"

#define HSHM_CONTRACT_NAME "BuddyAllocator"

namespace {
using Alloc = hshm::ipc::BuddyAllocator;
struct Traits : contract::Defaults {};
}  // namespace

#include "contract/contract_suite.h"
