#include "hermes_shm/memory/allocator/malloc_allocator.h"

#include "contract/harness.h"

#define HSHM_CONTRACT_NAME "MallocAllocator"

namespace {
using Alloc = hshm::ipc::MallocAllocator;
struct Traits : contract::Defaults {
  static constexpr bool kFindsMisuse = false;        // malloc has the say
  static constexpr bool kBlocksLieInRegion = false;  // the system's memory is the limit
  static bool WorksOn(int kind) { return !contract::TestBackend::IsShared(kind); }
};
}  // namespace

#include "contract/arena_claims.h"
#include "contract/block_claims.h"
#include "contract/lifecycle_claims.h"
#include "contract/misuse_claims.h"
#include "contract/refusal_claims.h"
#include "contract/stats_claims.h"
#include "contract/thread_claims.h"
#include "contract/typed_claims.h"
