#include "contract/harness.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"

#define HSHM_CONTRACT_NAME "CheckedMultiProcessAllocator"

namespace {
using Alloc = hshm::ipc::CheckedMultiProcessAllocator;
struct Traits : contract::Defaults {};
}  // namespace

#include "contract/contract_suite.h"
