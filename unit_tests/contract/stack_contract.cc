#include "contract/harness.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"

#define HSHM_CONTRACT_NAME "StackAllocator"

namespace {
using Alloc = hshm::ipc::StackAllocator;
struct Traits : contract::Defaults {
  static constexpr bool kReusesEveryBlock = false;  // a block freed in the middle waits
};
}  // namespace

#include "contract/contract_suite.h"
