#include "hermes_shm/memory/allocator/thread_local_allocator.h"

#include "contract/harness.h"

#define HSHM_CONTRACT_NAME "ThreadLocalAllocator"

namespace {
using Alloc = hshm::ipc::ThreadLocalAllocator;
struct Traits : contract::Defaults {
  static constexpr bool kFindsMisuse = false;  // no header, no bit per block: not on this path
};
}  // namespace

#include "contract/arena_claims.h"
#include "contract/block_claims.h"
#include "contract/lifecycle_claims.h"
#include "contract/misuse_claims.h"
#include "contract/one_process_claims.h"
#include "contract/region_claims.h"
#include "contract/stats_claims.h"
#include "contract/thread_claims.h"
#include "contract/typed_claims.h"
