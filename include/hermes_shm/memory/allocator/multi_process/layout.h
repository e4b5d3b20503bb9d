#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_LAYOUT_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_LAYOUT_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/memory/allocator/buddy/buddy_engine.h"
#include "hermes_shm/memory/allocator/multi_process/size_classes.h"
#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/memory/backend/region.h"
#include "hermes_shm/sync/mutex.h"

/**
 * What a multi-process allocator keeps in its region, and who may write each word. The protocols
 * over these words are in docs/protocols.md.
 *
 *   | backend header, slots | common header, custom header | RootHeader | head words | root nodes |
 *   | page table: one PageEntry per page of the region | data pages ...
 *
 * Pages and units are numbered from the start of the region, so that an offset becomes a page
 * number by one shift.
 */
namespace hshm::ipc::multi_process {

/** Policy: nothing is noted of blocks, and misuse is found where it costs nothing. */
struct HSHM_API Fast {};
/** Policy: a mark for each block, out of line, by which every free of what is no block of a user,
 * and every block that would be handed out twice, is found at the call. See block_marks.h. */
struct HSHM_API Checked {};

/** Page size and policy are types: everything that depends on them is known at compile time. */
template <uint32_t kShift, typename Policy = Fast>
struct HSHM_API PageConfig {
  static constexpr bool kChecked = std::is_same_v<Policy, Checked>;
  static constexpr uint32_t kPageShift = kShift;
  static constexpr uint64_t kPageBytes = uint64_t{1} << kShift;
  /** Larger classes live in spans of several pages, wide pages. */
  static constexpr uint64_t kMaxNarrowBytes = kPageBytes / 8;
  /** Pages of a span for blocks of a class. A span goes back as a whole, and the shorter it is the
   * sooner; but where spans are of many lengths, what one has left fits no other. So it is the
   * shortest power of two that holds four blocks and leaves no more than a part in 25. */
  static constexpr uint32_t PagesOf(uint64_t block_bytes) {
    if (block_bytes <= kMaxNarrowBytes) return 1;
    uint32_t pages = 2;
    while (pages * kPageBytes < 4 * block_bytes ||
           pages * kPageBytes % block_bytes > pages * kPageBytes / 25) {
      pages *= 2;
    }
    return pages;
  }
  /** Larger blocks are runs of whole pages. */
  static constexpr uint64_t kMaxClassBytes = kPageBytes;
  static constexpr uint32_t kClassCount = ClassOf(kMaxClassBytes) + 1;
  /** Class slots of a heap: of each class one, and one for the runs of each small number of pages.
   * From the first mixed one on a free goes to the slot at once, whose list is of many pages, also
   * of those of the process's other heaps. Smaller blocks share cache lines with those of their
   * owner: whoever freed them does not use them again, or two threads would write to one line for
   * ever. */
  static constexpr uint32_t kFirstMixedSlot = ClassOf(128);
  static constexpr uint32_t kFirstWideSlot = ClassOf(kMaxNarrowBytes) + 1;
  /** The class after that of a size, where a block of either will do and both are of wide pages;
   * else kClassCount. A size that is a multiple of a power of two may be one for the sake of its
   * alignment: the longer block is a multiple of it as well. Checked tells a wrong size by the
   * block. */
  static constexpr uint32_t LongerClassOf(uint64_t size_bytes) {
    const uint32_t longer = ClassOf(size_bytes) + 1;
    if (kChecked || longer <= kFirstWideSlot || longer >= kClassCount) return kClassCount;
    return ClassBytes(longer) % (size_bytes & (~size_bytes + 1)) == 0 ? longer : kClassCount;
  }
  static constexpr uint32_t kFirstRunSlot = kClassCount;
  static constexpr uint32_t kMaxSlotRunPages = 16;
  static constexpr uint32_t kSlotCount = kFirstRunSlot + kMaxSlotRunPages;
  /** The slot that takes freed runs of so many pages; 0, which is no mixed one, if none does: a run
   * of one page is what a class gets that can have no span, and others may make one of it. */
  static constexpr uint32_t RunSlot(uint32_t pages) {
    return pages > 1 && pages <= kMaxSlotRunPages ? kFirstRunSlot + pages - 1 : 0;
  }
  static constexpr uint64_t SlotBlockBytes(uint32_t slot) {
    return slot < kFirstRunSlot ? ClassBytes(slot) : (slot - kFirstRunSlot + 1) * kPageBytes;
  }
  /** Bytes and blocks that the mixed slot of a class lists, at most. */
  static constexpr uint64_t kMaxListedBytes = 16 * kPageBytes;
  static constexpr uint64_t kMaxListedBlocks = 64;
  /** No class slot's list is longer. */
  static constexpr uint32_t kMaxListLength = kPageBytes / 16 + 64;
  /** Runs of remote frees that a heap may have waiting, a power of two. A sleeper keeps as many
   * pages of others in use; a thread that frees blocks of 32 sizes needs as many and some more. */
  static constexpr uint32_t kPendingRuns = kShift >= 16 ? 64 : 8;
  static_assert(kSlotCount <= 256);  // a byte of a FreeKey
};
using LargePages = PageConfig<16>;  // 64 KiB, what applications use
using SmallPages = PageConfig<12>;  // 4 KiB, for crash tests on small regions
using CheckedLargePages = PageConfig<16, Checked>;
using CheckedSmallPages = PageConfig<12, Checked>;

inline constexpr uint32_t kNoPage = ~uint32_t{0};

/**
 * A word with one writer at a time. Its stores keep their program order, which is all that recovery
 * needs: a process that dies leaves an exact prefix of them, complete by the time the kernel says
 * that it is dead. Others read it where the protocols allow.
 */
template <typename T>
class HSHM_API OwnedWord {
 public:
  HSHM_INLINE T Get() const {
    return word_.load(std::memory_order_relaxed);  // relaxed: one writer
  }
  HSHM_INLINE void Set(T value) {
    std::atomic_signal_fence(std::memory_order_seq_cst);  // pairs with the kernel's word of a death
    word_.store(value, std::memory_order_relaxed);        // relaxed: program order is enough
    std::atomic_signal_fence(std::memory_order_seq_cst);  // pairs with the kernel's word of a death
  }
  /** SetRelease of one less, by the one writer: one instruction where the compiler makes three.
   * @return whether 0 is left */
  HSHM_INLINE bool LowerRelease() {
#if defined(__x86_64__) && HSHM_IS_HOST && !HSHM_THREAD_SANITIZER
    static_assert(sizeof(T) == 4);
    bool is_zero;
    asm volatile("subl $1, %0" : "+m"(word_), "=@ccz"(is_zero) : : "memory");
    return is_zero;
#else
    const T lower = Get() - 1;
    SetRelease(lower);
    return lower == 0;
#endif
  }
  HSHM_INLINE T GetAcquire() const {
    return word_.load(std::memory_order_acquire);  // pairs with SetRelease
  }
  HSHM_INLINE void SetRelease(T value) {
    word_.store(value, std::memory_order_release);  // pairs with GetAcquire and CasFrom
  }
  bool CasFrom(T expected, T desired) {
    return word_.compare_exchange_strong(expected, desired,
                                         std::memory_order_acq_rel,   // pairs with SetRelease
                                         std::memory_order_relaxed);  // relaxed: failure reads only
  }

 private:
  Atomic<T> word_;
};

/** Names a heap for ever: {slot:12, serial:20}. Serials of a slot are never given twice. */
using HeapId = uint32_t;
inline constexpr HeapId kFreePage = 0;      // owner of a page that nobody uses
inline constexpr HeapId kSpanInterior = 1;  // owner of a page behind the head of a span
inline constexpr uint32_t kFirstSerial = 2;
inline constexpr uint32_t kMaxSerial = (1u << 20) - 1;
constexpr HeapId MakeHeapId(uint32_t slot, uint32_t serial) { return (slot << 20) | serial; }
constexpr uint32_t SlotOf(HeapId id) { return id >> 20; }

/**
 * Says to the thread that frees whose a page is and where its blocks go, without a look at the head
 * of its span: {process slot + 1:24, heap id:32, mixed slot:8}. Slot and process are 0 when the
 * blocks go to the page's own list; of a run, which goes to a slot of its heap alone, the process
 * is 0. Each page in which a block may begin has it before the first block is out. It is a copy,
 * and who opens a page finds 0. Who has a block of a class in hand may read it, whatever heap the
 * page is of: it changes only when another heap adopts the page, is 0 in between, and all three are
 * right then. Of a run others than the owner ask just whether it has a key at all, which a run that
 * is free has not.
 */
struct FreeKey {
  static constexpr uint64_t Make(HeapId id, uint32_t slot = 0) { return uint64_t{id} << 8 | slot; }
  /** Of a class with a mixed slot: any heap of the process may list its blocks. */
  static constexpr uint64_t MakeMixed(HeapId id, uint32_t slot) {
    return OfProcess(SlotOf(id)) | Make(id, slot);
  }
  /** What the keys of all classes with a mixed slot of a process have in common. */
  static constexpr uint64_t OfProcess(uint32_t process) { return (uint64_t{process} + 1) << 40; }
  /** Whether the key is of a class with a mixed slot of that process. */
  static HSHM_INLINE bool IsMixedOf(uint64_t key, uint64_t of_process) {
    return (key ^ of_process) >> 40 == 0;
  }
  /** The low byte: the next allocation waits for it, so it is to be had at once. */
  static HSHM_INLINE uint32_t Slot(uint64_t key) { return static_cast<uint8_t>(key); }
  static constexpr HeapId Id(uint64_t key) { return static_cast<HeapId>(key >> 8); }
};

/** What a page holds: {kind:8, class slot:8, adopted:1, in hand:1}. */
enum PageKind : uint32_t { kKindNone = 0, kKindClass = 1, kKindRun = 2, kKindHeaps = 3 };
inline constexpr uint32_t kAdopted = 1u << 16;  // holds blocks of a process that died
inline constexpr uint32_t kInHand = 1u << 17;   // its heap refills from it without a lock
constexpr uint32_t MakeShape(PageKind kind, uint32_t class_slot = 0) {
  return kind | (class_slot << 8);
}
constexpr PageKind KindOf(uint32_t shape) { return static_cast<PageKind>(shape & 0xff); }
constexpr uint32_t ClassOfShape(uint32_t shape) { return (shape >> 8) & 0xff; }

/** Whether the memory of a page is there. */
enum Committed : uint32_t {
  kNotCommitted = 0,
  kCommitted = 1,
  kCommittedZero = 2,  // it reads as zero: nobody has opened the page since
};

/**
 * One per page. A page that nobody uses has owner_, shape_, local_, carved_ and used_ 0, and
 * drained_ equal to the push count; remote_ is never reset.
 */
struct PageEntry {
  OwnedWord<HeapId> owner_;        // [owner; 0 by CAS] kFreePage, kSpanInterior, or a heap's id
  OwnedWord<uint32_t> shape_;      // [owner] fixed while owned, but for kInHand and a run's slot
  OwnedWord<uint32_t> span_;       // [owner] pages of the span that begins here
  OwnedWord<uint32_t> back_;       // [owner] of an interior page: pages back to the head
  OwnedWord<uint64_t> local_;      // [owner] own list: offset of its first block, 0 ends it
  OwnedWord<uint32_t> drained_;    // [owner] pushes taken so far, modulo 2^32; after local_
  OwnedWord<uint32_t> carved_;     // [owner] blocks ever listed, see CarveOrder; after local_
  OwnedWord<uint32_t> used_;       // [owner] carved, not in local_, 1 more in hand; lowered last
  OwnedWord<uint32_t> committed_;  // [any] see Committed; 0 before a hole is punched
  Atomic<uint64_t> remote_;        // [any] a RemoteWord, by CAS
  OwnedWord<uint64_t> former_;     // [owner] Checked: what a free page held last, see FormerBlocks
  OwnedWord<uint64_t> key_;        // [owner] a FreeKey; 0 in a free page
};
static_assert(std::is_standard_layout_v<PageEntry>);
static_assert(sizeof(PageEntry) == 64);  // frozen by kMultiProcessLayoutVersion

/** remote_ of a page: {pushed:32, 0:16, head:16}. From the head on the list has as many blocks as
 * were pushed since the owner took them last, in runs: see RunBearer. */
struct RemoteWord {
  static constexpr uint64_t kUnit = 16;
  static constexpr uint64_t Make(uint32_t head, uint32_t pushed) {
    return (uint64_t{pushed} << 32) | head;
  }
  /** Page-relative in units, plus 1; 0: nothing was ever pushed. */
  static constexpr uint32_t Head(uint64_t word) { return word & 0xffff; }
  static constexpr uint32_t Pushed(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
};
// The last block of the longest span, whose class is the largest, begins before that.
static_assert((LargePages::PagesOf(LargePages::kMaxClassBytes) * LargePages::kPageBytes -
               LargePages::kMaxClassBytes / 2) /
                  RemoteWord::kUnit <
              0xffff);

/**
 * The first block of a run of remote frees, its bearer, says which the others are. So who frees
 * them, and who posts them, has none of their cache lines fetched from their owner, who may have
 * used them last; and the owner links them all at once instead of following a list that another
 * core has written.
 *
 *   | link of other lists: 8 | others: 1 | ~others: 1 | next: 2 | number of another: 2 | ... bytes
 *
 * Numbers are page-relative, in 16 bytes. `next` is the bearer that was posted before, as
 * RemoteWord::Head. Nothing here changes before the run's blocks are handed out. The count is there
 * twice: a smaller one, that a user wrote after the free, would lead beyond the oldest run to one
 * that was taken long ago.
 */
struct RunBearer {
  static constexpr Offset kOthers = 8;
  static constexpr Offset kNext = 10;
  static constexpr Offset kNumbers = 12;
  static constexpr Offset PlaceOf(uint32_t i) { return kNumbers + 2 * Offset{i}; }
  static constexpr uint32_t kBroken = 0xffff;  // more than any run has
  static constexpr uint16_t MakeOthers(uint32_t others) {
    return static_cast<uint16_t>((others ^ 0xff) << 8 | others);
  }
  static constexpr uint32_t Others(uint32_t word) {
    return (word >> 8) == ((word & 0xff) ^ 0xff) ? word & 0xff : kBroken;
  }
  /** Other blocks than the bearer, at most. */
  static constexpr uint64_t MostOthers(uint64_t block_bytes) {
    return (block_bytes - kNumbers) / 2;
  }
};

/**
 * A run of remote frees that waits to be posted, in one word: the blocks of one page that is no
 * span. {bearer:56 in 16 bytes, count:8}; 0: none.
 */
template <typename Config>
struct RunWord {
  static constexpr uint64_t kUnit = 16;
  static constexpr uint32_t kMaxBlocks = 16;  // what a death may lose at once
  static constexpr uint64_t Make(Offset block) { return (block / kUnit) << 8 | 1; }
  static constexpr uint32_t Count(uint64_t run) { return run & 0xff; }
  static constexpr Offset Bearer(uint64_t run) { return (run >> 8) * kUnit; }
  static constexpr uint32_t Page(uint64_t run) {  // 0, which holds no blocks, when there is no run
    return static_cast<uint32_t>(run >> (8 + Config::kPageShift - 4));
  }
  static_assert(Config::kPageBytes / kUnit <= 0x10000);  // a number of a RunBearer
};

/** The shared part of a thread's heap; several to a page of kind kKindHeaps. */
template <typename Config>
struct HSHM_API HeapRecord {
  /** [owner] Class slots: first free block. All are of one page below kFirstMixedSlot. The first
   * member, so that one instruction forms the address of a slot. */
  OwnedWord<uint64_t> free_[Config::kSlotCount];
  /** [owner] RunWords. A run of another process's page is taken out under lock_ only: who deletes
   * the page posts it before. */
  OwnedWord<uint64_t> pending_[Config::kPendingRuns];
  OwnedWord<HeapId> id_;  // [init] 0: the record is unused
  Mutex lock_;            // [any]  the heap's slow path, or a taker
  uint64_t reserved_[7];
};
static_assert(std::is_standard_layout_v<HeapRecord<LargePages>>);
static_assert(sizeof(HeapRecord<LargePages>) == 64 + 512 + 768);

/** Head word of a root unit: {granules - 1:16, placed:1, slot + 1:13, kind:2}; 0: free or interior.
 * Placed: its memory was asked for on a NUMA node, which whoever gives it back takes back.
 * Extension: what the large block in front of it is to get, while its memory is fetched. */
struct HeadWord {
  enum Kind : uint32_t { kNone = 0, kUnit = 1, kLarge = 2, kExtension = 3 };
  static constexpr uint32_t kPlaced = 1u << 15;
  /** In place of slot + 1, of a large block or an extension: who had it could not get the root
   * mutex, and whoever has that next gives it back. */
  static constexpr uint32_t kFreed = 0x1fff;
  static constexpr uint32_t Make(Kind kind, uint32_t slot_plus_one, uint32_t granules) {
    return ((granules - 1) << 16) | (slot_plus_one << 2) | kind;
  }
  static constexpr Kind KindOf(uint32_t word) { return static_cast<Kind>(word & 3); }
  static constexpr uint32_t SlotPlusOne(uint32_t word) { return (word >> 2) & 0x1fff; }
  static constexpr uint32_t Granules(uint32_t word) { return (word >> 16) + 1; }
  static constexpr bool IsFreed(uint32_t word) {
    return SlotPlusOne(word) == kFreed && KindOf(word) > kUnit;
  }
  /** The slot of whose it is; kMaxSlots or more when nobody has it. */
  static constexpr uint32_t Slot(uint32_t word) {
    return IsFreed(word) ? ~uint32_t{0} : SlotPlusOne(word) - 1;
  }
  /** Whether it names a slot that there can be, or none. */
  static constexpr bool NamesSlot(uint32_t word) {
    return SlotPlusOne(word) <= kMaxSlots || IsFreed(word);
  }
};
static_assert(HeadWord::kFreed > kMaxSlots);

inline constexpr uint32_t kMultiProcessLayoutVersion = 9;
inline constexpr uint32_t kMaxGranules = 1u << 16;

/** What sweeps have found and done so far, for DeathStats. Nothing depends on it: a sweep that was
 * cut has counted what it was at, or not, and who repeats it may count that twice. */
struct DeathCounts {
  uint64_t adopted_pages_;
  uint64_t adopted_bytes_;
  uint64_t deleted_bytes_;
  uint32_t processes_;
  uint32_t heaps_;
};

/** The allocator's own header. */
struct RootHeader {
  uint32_t layout_version_;      // [init] kMultiProcessLayoutVersion
  uint32_t page_shift_;          // [init] of the Config that made it
  uint32_t page_count_;          // [init] pages of the region, those of the headers included
  uint32_t first_page_;          // [init] first data page
  uint32_t granule_pages_log2_;  // [init] pages of a root granule
  uint32_t first_granule_;       // [init] first granule of data
  uint32_t granule_end_;         // [init] one past the last
  Mutex lock_;                   // [any]  guards head words, root lists, Sweep
  uint64_t heads_offset_;        // [init] OwnedWord<uint32_t>[granule_end_]
  uint64_t nodes_offset_;        // [init] BuddyNode[granule_end_]
  uint64_t table_offset_;        // [init] PageEntry[page_count_]
  Atomic<uint32_t> pressure_;    // [any]  raised by a rank that found no room
  uint32_t peak_granules_;       // [lock:root] the most that were granted at once
  DeathCounts deaths_;           // [lock:root] statistics
  uint64_t returned_pushes_;     // [lock:root] remote frees of pages that no unit covers now
  uint32_t returned_begin_;      // [lock:root] first granule that was ever given back in a unit
  uint32_t returned_end_;        // [lock:root] one past the last; 0: none was
  Atomic<uint32_t> freed_;       // [any]  head words made kFreed; 0 by who has given all back
  BuddyLists lists_;             // [lock:root] a cache of the head words
};
static_assert(std::is_standard_layout_v<RootHeader>);

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_LAYOUT_H_
