#ifndef HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_LAYOUT_H_
#define HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_LAYOUT_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/memory/allocator/buddy/buddy_engine.h"
#include "hermes_shm/memory/allocator/multi_process/layout.h"
#include "hermes_shm/memory/allocator/multi_process/page_list.h"
#include "hermes_shm/memory/allocator/multi_process/page_table.h"
#include "hermes_shm/sync/mutex.h"

/**
 * What a scalable page allocator keeps in its region, and under which lock each word is written.
 * The protocol over these words is in docs/protocols.md, F.
 *
 *   | backend header, slots | common header, custom header | ScalableHeader
 *   | a PageEntry, a BuddyNode, a PageNote and PageMarks for each page of the region
 *   | data pages ...                              | frontier_: no page in use from here on, and
 *                                                 | neither data nor what describes it has memory
 *
 * Pages are those of the multi-process allocator, and so are the entries that describe them. Here
 * an entry says: owner_ kFreePage, kSpanInterior or kInUse; shape_ the span's kind and class, 0
 * while it is opened or let go; span_ and back_ as there; used_ the marks that are set in a class
 * page (a cache), 1 for a run; carved_ the first word of marks that may have room (a cache);
 * committed_ as there. local_, drained_ and remote_ stay 0.
 */
namespace hshm::ipc::scalable_page {

using multi_process::HeapId;
using multi_process::kFreePage;
using multi_process::kNoPage;
using multi_process::kSpanInterior;
using multi_process::OwnedWord;
using multi_process::PageEntry;
using multi_process::PageList;
using multi_process::PageNote;

/** Owner of every page in use: they are everybody's. */
inline constexpr HeapId kInUse = multi_process::kFirstSerial;

/** One bit for each block of a class page, set while somebody has it: the truth about blocks. Of a
 * wide page those of its first page serve. */
template <typename Config>
struct HSHM_API PageMarks {
  static constexpr uint32_t kWords = Config::kPageBytes / kDefaultAlignment / 64;
  OwnedWord<uint64_t> words_[kWords];  // [lock:class] 0 in every page that is no class page
};

/** The pages of one size class. */
struct alignas(kCacheLineBytes) ClassHeader {
  Mutex lock_;                    // [any]  order: before pages_lock_; several in ascending order
  uint32_t spare_;                // [lock:class] head + 1 of a page that holds nothing; 0: none
  PageList roomy_;                // [lock:class] heads of pages with room, the spare one included
  Atomic<uint64_t> live_blocks_;  // [lock:class] marks set in all pages; read by anybody
};
static_assert(std::is_standard_layout_v<ClassHeader>);
static_assert(sizeof(ClassHeader) == 64);

inline constexpr uint32_t kScalablePageLayoutVersion = 1;

/** The allocator's own header. */
template <typename Config>
struct alignas(kCacheLineBytes) ScalableHeader {
  uint32_t layout_version_;     // [init] kScalablePageLayoutVersion
  uint32_t page_shift_;         // [init] of the Config that made it
  uint32_t page_count_;         // [init] pages of the region, those of the headers included
  uint32_t first_page_;         // [init] first data page
  uint64_t table_offset_;       // [init] PageEntry[page_count_]
  uint64_t nodes_offset_;       // [init] BuddyNode[page_count_]
  uint64_t notes_offset_;       // [init] PageNote[page_count_]
  uint64_t marks_offset_;       // [init] PageMarks[page_count_]
  Mutex pages_lock_;            // [any]  order: after the class locks
  Atomic<uint32_t> frontier_;   // [lock:pages] page from which on nothing has been used; only grows
  Atomic<uint64_t> run_pages_;  // [lock:pages] pages of all runs (a cache); read by anybody
  BuddyLists lists_;            // [lock:pages] a cache of the entries: pages that are free
  ClassHeader classes_[Config::kClassCount];
};
static_assert(std::is_standard_layout_v<ScalableHeader<multi_process::LargePages>>);

}  // namespace hshm::ipc::scalable_page

#endif  // HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_LAYOUT_H_
