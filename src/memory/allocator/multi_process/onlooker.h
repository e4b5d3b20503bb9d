#ifndef HSHM_SRC_MEMORY_ALLOCATOR_MULTI_PROCESS_ONLOOKER_H_
#define HSHM_SRC_MEMORY_ALLOCATOR_MULTI_PROCESS_ONLOOKER_H_

#include "hermes_shm/memory/allocator/allocator_report.h"
#include "hermes_shm/memory/allocator/multi_process/root_tier.h"

/**
 * A multi-process allocator as one sees it who is no member: in a copy of the region, without its
 * locks. All need RootTier::FitsRegion, and trust nothing behind that header more than they must:
 * what is broken makes wrong numbers, or leads out of the region, where the caller is on its own.
 */
namespace hshm::ipc::multi_process {

/** Adds up what GetStats does. ranks_ are by slot. */
template <typename Config>
void CountInCopy(const Region& copy, Offset core, AllocatorStats* stats);

/** What Check does, of a copy in which nobody lives, before anybody mends what a death may leave:
 * recovery ends lists that lead astray, and says nothing of it. */
template <typename Config>
bool CheckDead(const Region& copy, Offset core);

/**
 * Looks at each span of pages for what no process may leave behind at any moment. What seems wrong
 * is read again: bytes that have not changed were so together, and are a finding; those that have
 * are looked at anew. Prints as Check() does. `copy` are the services of `region`.
 */
template <typename Config>
CopyVerdict CheckChanging(const Region& region, Offset core, RegionCopy* copy);

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_SRC_MEMORY_ALLOCATOR_MULTI_PROCESS_ONLOOKER_H_
