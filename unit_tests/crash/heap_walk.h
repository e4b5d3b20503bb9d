#ifndef HSHM_UNIT_TESTS_CRASH_HEAP_WALK_H_
#define HSHM_UNIT_TESTS_CRASH_HEAP_WALK_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "hermes_shm/memory/allocator/multi_process_allocator.h"

namespace hshm::ipc::crash {

#if HSHM_CHECKED
using Config = multi_process::CheckedSmallPages;
#elif HSHM_LARGE_PAGES
using Config = multi_process::LargePages;
#else
using Config = multi_process::SmallPages;
#endif
using Allocator = BasicMultiProcessAllocator<Config>;
using Root = multi_process::RootTier<Config>;

/** A block that the words of the region call live. */
struct LiveBlock {
  uint64_t offset_;
  uint64_t bytes_;
  uint32_t first_page_;  // of the span that holds it
  uint32_t pages_;
};

/**
 * Reads a region's words by itself and says what lives there: what is carved and in no list is
 * live. Shares no code with the allocator's own Check and statistics but the layout.
 */
class HeapWalk {
 public:
  /** The region holds a published allocator with small pages, and nobody works in it. */
  explicit HeapWalk(const Region& region);

  /** Empty unless a list is broken: then what, and where. */
  const std::string& complaint() const { return complaint_; }
  /** By offset, ascending. */
  const std::vector<LiveBlock>& live() const { return live_; }
  uint64_t LiveBytes() const;
  uint32_t data_pages() const { return data_pages_; }
  /** Pages that are owned and hold heap records. */
  uint32_t record_pages() const { return record_pages_; }
  /** Pages that hold a live block, or that a large block covers. */
  uint32_t live_pages() const { return live_pages_; }
  /** Pages owned, or marked as interior, that hold neither blocks nor records. */
  uint32_t empty_pages() const { return empty_pages_; }

 private:
  void WalkUnit(uint32_t first, uint32_t end);
  uint32_t WalkSpan(uint32_t page);
  void WalkBlocks(uint32_t page, uint32_t span);
  void Strike(uint32_t page, uint64_t block, std::vector<bool>* free);
  uint32_t StrikeChain(uint32_t page, uint64_t first, uint32_t limit, std::vector<bool>* free);
  void CollectHeapLists();
  void Complain(const char* what, uint64_t where);

  Region region_;
  Root root_;
  uint32_t data_pages_ = 0;
  uint32_t record_pages_ = 0;
  uint32_t live_pages_ = 0;
  uint32_t empty_pages_ = 0;
  std::vector<LiveBlock> live_;
  std::map<uint32_t, std::vector<uint64_t>> heap_lists_;   // page -> first blocks in class slots
  std::map<uint32_t, std::vector<uint64_t>> heap_blocks_;  // page -> what mixed class slots list
  std::map<uint32_t, std::vector<uint64_t>> runs_;         // page -> runs of remote frees
  std::string complaint_;
};

/**
 * What the keys of a region say that they must not, "" when all is well. Holds at every
 * instruction: a run that a class slot lists has no key, or a second free of it would not be found;
 * a page of which one of `offsets` is a user's block has one, and if it is of a class, its owner's,
 * or none while it is adopted. Lists that are cut are followed as far as they go.
 */
std::string KeyComplaint(const Region& region, const std::vector<uint64_t>& offsets);

/**
 * Says which of these blocks is a large one that is longer than its memory, "" when none is. Holds
 * at every instruction of whoever has the block, but for who is giving it back: its memory goes
 * from the first page on.
 */
std::string MemoryComplaint(const Region& region, const std::vector<uint64_t>& offsets);

/** The slots that own something by a region's words, or hold the root's lock: what the dead among
 * them have left is to be recovered. None before the allocator is published. */
std::vector<uint32_t> LabelingSlots(const Region& region);

/** Names the word at an offset: "owner_", "root lists", "a link"; of some, by what was just stored
 * to it, in what state the lists are. For coverage and messages. */
std::string FieldAt(const Region& region, uint64_t offset);

/** Where the allocator's own header lies. */
Offset CoreOffset(const Region& region);
/** The same without a look: there is no custom header. World::Init compares. */
Offset RootOffset(uint64_t region_bytes);

}  // namespace hshm::ipc::crash

#endif  // HSHM_UNIT_TESTS_CRASH_HEAP_WALK_H_
