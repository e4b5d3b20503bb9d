#ifndef HSHM_UNIT_TESTS_CONTRACT_CONTRACT_SUITE_H_
#define HSHM_UNIT_TESTS_CONTRACT_CONTRACT_SUITE_H_

/**
 * One behaviour suite for all allocators, over all backends that make sense. One file per allocator
 * includes contract/harness.h, says which allocator it is, and then includes this (or, where other
 * processes cannot join, those of the headers below that hold for it):
 *
 *     #define HSHM_CONTRACT_NAME "StackAllocator"
 *     namespace {
 *     using Alloc = hshm::ipc::StackAllocator;
 *     struct Traits : contract::Defaults { ... what its page says otherwise ... };
 *     }  // namespace
 *     #include "contract/contract_suite.h"
 */

#include "contract/arena_claims.h"
#include "contract/block_claims.h"
#include "contract/lifecycle_claims.h"
#include "contract/misuse_claims.h"
#include "contract/region_claims.h"
#include "contract/shared_arena_claims.h"
#include "contract/shared_claims.h"
#include "contract/shared_misuse_claims.h"
#include "contract/stats_claims.h"
#include "contract/typed_claims.h"

#endif  // HSHM_UNIT_TESTS_CONTRACT_CONTRACT_SUITE_H_
