#ifndef HSHM_UNIT_TESTS_CRASH_ORACLE_H_
#define HSHM_UNIT_TESTS_CRASH_ORACLE_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "crash/heap_walk.h"
#include "crash/trace_log.h"

namespace hshm::ipc::crash {

/** One image and what its dead process knew. */
struct Evidence {
  const uint64_t* image_;
  uint64_t region_bytes_;
  std::vector<ShadowBlock> blocks_;
  uint32_t unknown_allowed_;
  bool is_thorough_;  // also what costs as much again: a second recovery, a region filled up
};

/** How many deaths it took at least to lose the blocks that live and are not known: each loses one
 * block, or one run of remote frees, which is of one page. */
uint32_t LossesOf(const HeapWalk& walk, const std::vector<ShadowBlock>& known);
/** Frees what lives and is not known: what the dead had in their hands. */
void FreeUnknown(Allocator* heap, const HeapWalk& walk, const std::vector<ShadowBlock>& known);
/** Pages that one heap can have at once; it has them for a moment. */
size_t CountPages(Allocator* heap);

/**
 * Recovers one image as the next process would and says what promise is broken; an empty string
 * when all are kept. The letters are those of docs/protocols.md.
 *
 *   P2  every certain block is live, whole, and can be freed
 *   P3  at most unknown_allowed_ blocks live that nobody knows of, or as many runs of remote frees
 *       Runs that are listed have no key, pages of live blocks one, in the image and recovered;
 *       no large block that somebody knows is longer than its memory.
 *   P4  whatever is neither live nor the recoverer's record can be allocated, to the last block
 *   P5  a death of the recoverer, right after it recovered, changes nothing
 *
 * P1, no hang and no crash, is for the caller to watch: it runs this in a child under an alarm.
 */
class Oracle {
 public:
  explicit Oracle(uint64_t region_bytes);
  ~Oracle();
  Oracle(const Oracle&) = delete;
  Oracle& operator=(const Oracle&) = delete;

  std::string Judge(const Evidence& evidence);

  /** What else must hold of a recovered image; says what does not. */
  using Demand = std::function<std::string(Allocator& allocator)>;
  void Demands(Demand demand) { demand_ = std::move(demand); }

 private:
  std::string JudgeWords(const Evidence& evidence) const;
  std::string JudgeAdoption(const Evidence& evidence) const;
  std::string JudgeRecovered(const Evidence& evidence, Allocator* allocator);
  std::string CompareLive(const Evidence& evidence, const HeapWalk& walk);
  std::string CheckPatterns(const Evidence& evidence) const;
  std::string RecoverAgain(const HeapWalk& before);
  std::string FillUp(const Evidence& evidence, Allocator* allocator);
  std::string FreeKnown(const Evidence& evidence, Allocator* allocator);
  std::string FreeLost(Allocator* allocator);
  std::string CheckCapacity(Allocator* allocator, const char* when);
  Region RegionOf(char* memory) const;

  uint64_t region_bytes_;
  char* memory_;  // the image, recovered in place
  Demand demand_;
  char* second_;  // the recovered image, recovered once more
};

}  // namespace hshm::ipc::crash

#endif  // HSHM_UNIT_TESTS_CRASH_ORACLE_H_
