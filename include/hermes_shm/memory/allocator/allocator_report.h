#ifndef HSHM_MEMORY_ALLOCATOR_ALLOCATOR_REPORT_H_
#define HSHM_MEMORY_ALLOCATOR_ALLOCATOR_REPORT_H_

#include <cstdint>
#include <optional>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/memory/allocator/allocator_header.h"
#include "hermes_shm/memory/allocator/allocator_stats.h"
#include "hermes_shm/memory/backend/region.h"

/**
 * Looking at an allocator from outside, for tools; segment_report.h has the segment around it. It
 * is done in a copy that the caller has to itself, so that nothing here is seen by who works there.
 *
 * All but ReadAllocatorType follow offsets that stand in the copy. In one that was written over
 * these may lead anywhere, or to a defect that ends the process: call them in a child.
 */
namespace hshm::ipc {

/** Which allocator a segment of this capacity holds, read from its file; kNone when none is made
 * yet, or the file is not that long. */
HSHM_API AllocatorType ReadAllocatorType(int fd, uint64_t region_bytes) noexcept;

/** A private copy of a region of which parts can be copied anew. Its slots are those of the copy:
 * for an answer about them that needs no lock of a living process, all of them are dead. */
class HSHM_API RegionCopy : public RegionServices {
 public:
  /** Copies a range once more. @return whether the copy had these bytes already */
  virtual bool ReadAgain(Offset offset, uint64_t size_bytes) = 0;
  /** Lets the memory of the copy go that lies inside of the range; it comes anew when touched. */
  virtual void Forget(Offset offset, uint64_t size_bytes) = 0;
};

/**
 * What the allocator of a copy holds, before anybody has adopted what the dead have left: as
 * GetStats, where `ranks_` says of every slot whether the copy's services call it alive.
 * @throws Error kUnsupported when there is no allocator, or a MallocAllocator; what attaching
 * throws
 */
HSHM_API AllocatorStats CountInCopy(const Region& copy);

/** What a look at a heap in use has found. */
struct CopyVerdict {
  bool is_good_ = true;
  uint64_t spans_ = 0;      // of pages, that were looked at
  uint64_t unsettled_ = 0;  // of them: changed each time that they seemed wrong
};

/**
 * Checks of a heap that others use meanwhile what holds at every moment, span by span; says what is
 * wrong on standard error, as Check() does. Nothing for an allocator whose words have to be looked
 * at under its lock: of that only the headers are checked. `copy` are the services of `region`.
 * @throws Error as CountInCopy
 */
HSHM_API std::optional<CopyVerdict> CheckChangingCopy(const Region& region, RegionCopy* copy);

/** Walks a copy in which nobody lives for what no death leaves, at whatever moment it came; says on
 * standard error what is wrong. Recovery ends lists that lead astray, so it is asked before. True
 * for an allocator that leaves its words to the next who takes its lock. @throws Error as
 * CountInCopy */
HSHM_API bool CheckDeadCopy(const Region& copy);

/** What recovery makes of a copy in which nobody lives. */
struct RecoveryVerdict {
  bool is_good_ = true;            // CheckDeadCopy(), and Check() after recovery
  AllocatorStats before_;          // of CountInCopy
  AllocatorStats after_;           // of GetStats, the recoverer in it
  uint64_t adopted_pages_ = 0;     // taken over from the dead, their blocks living on in them
  uint64_t blocks_in_flight_ = 0;  // at most so many are lost: one a heap of the dead
};

/** Looks for what no death leaves, joins the copy, which recovers it, and checks everything; says
 * on standard error what is wrong. @throws Error as CountInCopy */
HSHM_API RecoveryVerdict RecoverCopy(const Region& copy);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_ALLOCATOR_REPORT_H_
