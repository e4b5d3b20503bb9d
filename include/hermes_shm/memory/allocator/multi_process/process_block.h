#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PROCESS_BLOCK_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PROCESS_BLOCK_H_

#include <array>
#include <memory>
#include <mutex>
#include <optional>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/allocator/allocator_stats.h"
#include "hermes_shm/memory/allocator/multi_process/options.h"
#include "hermes_shm/memory/allocator/multi_process/page_list.h"
#include "hermes_shm/memory/allocator/multi_process/root_tier.h"
#include "hermes_shm/memory/allocator/multi_process/thread_heap.h"
#include "hermes_shm/platform/private_pages.h"

namespace hshm::ipc::multi_process {

inline constexpr uint32_t kMaxThreads = 1024;
inline constexpr uint32_t kRecordsHolder = kMaxThreads + 1;  // of pages of heap records

/** The system refused private memory for what a process notes of a region, or of a heap in it. */
Error NoNotes(uint64_t region_bytes, int os_errno);

/** What leaving the region does with the blocks that this process handed out. */
enum class DetachMode {
  kDelete,    // they are gone, as with munmap
  kKeepLive,  // those that others may hold stay valid
};

/** Who may join a heap. As an argument of a template that libhshm exports it must be visible
 * itself: clang hides what depends on a hidden type. */
enum class HSHM_API Sharing {
  kManyProcesses,  // any process that has the region
  kOneProcess,     // one at a time, with any number of handles and threads
};

/**
 * The process tier: this process's units, its free pages, its heaps. All in private memory; what
 * others must know stands in head words and page entries. Protocols: docs/protocols.md, D and E.
 *
 * lock_ guards everything here and is taken before the root mutex, that before any heap's lock.
 *
 * A page of our units is, as far as this process knows, in one of three states. All are hints for
 * opening (the CAS decides), but exact for giving a unit back: only a unit all of whose pages are
 * listed goes, so no thread of ours can open a page of a unit that is gone.
 *   listed   on free_pages_; holder 0
 *   in hand  of one heap: a hint, a page in use, a free page of its thread unit; holder heap + 1
 *   out      opened by somebody else; on lost_ and polled; holder 0
 * Only the holder lists a page. Who takes one from another heap of this process becomes its holder;
 * a free page in the hand of another heap is left alone, but for those of its thread units.
 */
template <typename Config>
class HSHM_API ProcessBlock {
 public:
  using Heap = ThreadHeap<Config>;

  /** @param colour another one for each of up to eight handles of the process: a thread that uses
   * several in turn then finds the words of its heaps in other sets of the caches. See
   * FindRecordSlot. */
  ProcessBlock(const Region& region, Offset root_offset, Membership* membership,
               const MultiProcessOptions& options, Sharing sharing, uint32_t colour);
  ~ProcessBlock();
  ProcessBlock(const ProcessBlock&) = delete;
  ProcessBlock& operator=(const ProcessBlock&) = delete;

  /** Adopts what the dead left, takes the first unit, makes the first heap and leaves it idle.
   * After an error it may be called again, and does what was not done.
   * @param is_found the region is as others left it, and its lists are looked at
   * @throws Error kNoSpace, kHolderStopped, kCorrupt, kSystem; kUnsupported when another process
   * has a heap that serves one at a time */
  void Start(bool is_found = true);

  /** A heap for the calling thread; null when there is no room or kMaxThreads have one. */
  Heap* AcquireHeap() noexcept;
  /** Its thread ends: the next one takes the heap over as it is. */
  void ReleaseHeap(Heap* heap) noexcept;
  /** Of an index that a heap was made for. */
  HSHM_INLINE Heap* heap_at(uint64_t index) const noexcept { return heaps_[index].get(); }

  RootTier<Config>& root() noexcept { return root_; }
  const RootTier<Config>& root() const noexcept { return root_; }
  const PageTable<Config>& pages() const noexcept { return root_.pages(); }
  uint32_t slot() const noexcept { return membership_->slot(); }

  // ---- for heaps, which hold no lock ---------------------------------------------------------

  /** Free pages of the process for this heap: a whole thread unit into the heap's own free pages
   * (then kNoPage and *gave_unit), or a run as a hint. From the root only when the effort allows.
   */
  uint32_t HintFor(Heap* heap, uint32_t pages, uint32_t alignment, bool from_root,
                   bool* gave_unit) noexcept;

  /** Pages of sleeping processes and threads: an open span of the heap with used_ 1, or kNoPage. */
  uint32_t TakeFor(Heap* heap, uint32_t pages, uint32_t alignment) noexcept;
  /** Last resort before null: idle heaps, the dead, whole units; tells the others to flush. */
  void Scavenge(Heap* heap) noexcept;

  /** Pages that the heap let go, could not open, or found taken. */
  void ReturnPages(const Heap* heap, uint32_t first, uint32_t pages) noexcept;
  /** A whole thread unit, if all of it is on the heap's free pages. */
  void ReturnThreadUnit(Heap* heap, uint32_t page) noexcept;
  /** All free pages of a heap; its thread units are the process's from here on. */
  void TakeUnitsOf(Heap* heap) noexcept;
  /** Free pages directly behind a span, taken off the process's lists. */
  bool TakeFreePages(const Heap* heap, uint32_t first, uint32_t pages) noexcept;

  /** A free by a thread that has no heap. */
  void FreeRemote(Offset block) noexcept;
  /** @param is_zero whether the block reads as zero */
  Offset AllocateLarge(uint64_t size_bytes, uint64_t alignment, bool* is_zero) noexcept;
  /** Whether it was a large block. Stops with InvalidFree when it is none that begins here. */
  void FreeLarge(Offset block) noexcept;
  bool ResizeLarge(Offset block, uint64_t new_bytes) noexcept;

  uint32_t thread_unit_pages() const noexcept { return 1u << thread_unit_log2_; }
  uint64_t process_unit_bytes() const noexcept { return options_.process_unit_bytes_; }
  /** Heap index + 1 of the thread unit that covers the page; 0: the process's own. */
  uint32_t HomeOf(uint32_t page) const noexcept {
    return homes_[page >> thread_unit_log2_].load(
        std::memory_order_relaxed);  // relaxed: only its own thread and lock_ holders act on it
  }
  BuddyNode* nodes() const noexcept { return nodes_.data(); }

  // ---- death and leaving ---------------------------------------------------------------------

  /** Looks for the dead; the calling thread's heap adopts what they left. @return how many
   * processes were found dead */
  uint32_t Recover(Heap* heap) noexcept;
  /** Deletes the blocks of a dead process that nobody has adopted. False when there is none. */
  bool Reclaim(Heap* heap, uint32_t slot, uint32_t generation) noexcept;
  /** Afterwards only the destructor may be called. The slot itself is the caller's to release. */
  void Leave(DetachMode mode) noexcept;
  /** Gives back everything that can be: heaps that no thread uses, whole units. */
  void Trim() noexcept;

  /** Holds what a forking thread must find unlocked in the child's copy; see the allocator. */
  void HoldForFork() noexcept;
  void LetGoAfterFork() noexcept;

  /** Bytes in blocks that somebody holds. Exact while nobody allocates or frees. */
  uint64_t LiveBytes() noexcept;
  /** Of all that the root granted this process. Nothing when the root mutex's holder is stopped. */
  UnitPlacement Placement() noexcept;
  /** For AllocatorStats, whose ranks_ are by slot here. False when the root mutex cannot be had. */
  bool AddStats(AllocatorStats* stats);
  /** Walks everything; says what is wrong on standard error. Nobody may allocate meanwhile. */
  bool Check() noexcept;

 private:
  friend class ThreadHeap<Config>;
  friend class Sweeper<Config>;
  friend class Taker<Config>;

  /** A process unit; stands at its first granule. granules_ 0: none. */
  struct Unit {
    uint32_t granules_;
    uint32_t free_pages_;  // on the process's lists
  };

  void RequireAlone();
  void FlushIdleHeaps() noexcept;
  void SettleIdleHeaps() noexcept;
  void MakeIdle(Heap* heap) noexcept;
  template <typename Visit>
  void ForEachIdleHeap(Visit visit) noexcept;
  BuddyEngine Engine() noexcept;
  HeapId NewHeapId() noexcept;
  bool HasSerials(uint32_t count) const noexcept;
  /** @throws Error kSystem, std::bad_alloc */
  Heap* AddHeap(HeapId id);
  /** Null when there is no memory for its notes, or kMaxThreads have one. */
  Heap* NewHeap(HeapId id) noexcept;
  bool MakeRecord(Heap* heap) noexcept;
  HeapRecord<Config>* FindRecordSlot(Heap* heap) noexcept;
  uint32_t OpenRecordPage(Heap* heap) noexcept;
  uint32_t OpenPageOfLiving(Heap* heap) noexcept;

  // With lock_ held:
  uint32_t AllocateHint(uint32_t holder, uint32_t pages, uint32_t alignment) noexcept;
  bool GiveThreadUnit(Heap* heap) noexcept;
  bool NewUnit(uint32_t pages) noexcept;
  bool NewUnitFromRoot(uint32_t pages) noexcept;  // and the root mutex
  void AddUnit(uint32_t granule, uint32_t granules) noexcept;
  void AddFree(uint32_t first, uint32_t pages) noexcept;
  void CountFree(uint32_t first, uint32_t pages, int64_t sign) noexcept;
  void ReturnListed(uint32_t holder, uint32_t first, uint32_t pages) noexcept;
  void DropFromHand(uint32_t holder, uint32_t first, uint32_t pages) noexcept;
  void ListOrLose(uint32_t first, uint32_t pages) noexcept;
  void NoteLost(uint32_t page) noexcept;
  void ForgetLost(uint32_t page) noexcept;
  uint32_t HolderOf(HeapId owner) const noexcept;
  void Claim(uint32_t holder, uint32_t first, uint32_t pages) noexcept;
  void PollLost(Heap* heap, bool all) noexcept;
  bool IsLargeBlock(uint32_t granule, Offset block) const noexcept;
  bool FillExtension(Offset block, uint32_t first, uint32_t more) noexcept;
  [[noreturn]] void StopForLarge(const char* operation, Offset block) const noexcept;
  void SetHome(uint32_t page, uint32_t home) noexcept;
  bool IsOurs(uint32_t page) const noexcept { return unit_of_[root_.GranuleOf(page)] != 0; }
  /** Of a free page: a heap of ours is about to open or to return it. If it went through other
   * hands onto the free list meanwhile, its unit could be gone when it is opened. */
  bool IsInHand(uint32_t page) const noexcept {
    return IsOurs(page) && HomeOf(page) == 0 && holders_[page] != 0;
  }
  void GiveBackWholeUnits(uint32_t keep) noexcept;
  bool GiveBackUnit(uint32_t granule) noexcept;
  void Dissolve(Heap* heap) noexcept;
  void DissolveUnit(Heap* heap, uint32_t first) noexcept;

  Region region_;
  Membership* membership_;
  MultiProcessOptions options_;
  Sharing sharing_;
  uint32_t colour_;
  RootTier<Config> root_;
  std::mutex lock_;
  uint32_t thread_unit_log2_ = 0;  // in pages
  uint32_t next_unit_pages_ = 0;   // what the next grant asks for; doubles
  uint32_t max_unit_pages_ = 0;
  uint32_t record_page_ = kNoPage;  // where heap records are made
  uint32_t whole_units_ = 0;        // units all of whose pages are on our lists
  uint32_t hints_since_poll_ = 0;
  uint32_t take_cursor_ = 0;  // where the last search for a sleeper's pages ended
  std::array<uint32_t, kMaxSlots> record_hints_{};  // by slot: page where a Taker found records
  BuddyLists free_pages_{};
  PrivatePages<BuddyNode> nodes_;         // by page number, for our lists and those of our heaps
  PrivatePages<Atomic<uint32_t>> homes_;  // by thread unit number
  PrivatePages<uint32_t> unit_of_;        // by granule: first granule of our unit + 1
  PrivatePages<Unit> units_;              // by first granule
  PrivatePages<PageNote> lost_notes_;     // by page number
  PrivatePages<uint16_t> holders_;        // by page number: who may list it, see above
  PageList lost_;
  std::array<std::unique_ptr<Heap>, kMaxThreads> heaps_;
  std::array<bool, kMaxThreads> idle_{};
  uint32_t heap_count_ = 0;
  bool is_slot_swept_ = false;  // from here on what our slot labels is ours
  // The heap's lock that who deleted last did not get: the next only asks. Compared, not followed.
  const Mutex* stuck_heap_ = nullptr;
  std::optional<typename RootTier<Config>::Guard> fork_hold_;  // lock_ is held with it
};

extern template class ProcessBlock<LargePages>;
extern template class ProcessBlock<SmallPages>;
extern template class ProcessBlock<CheckedLargePages>;
extern template class ProcessBlock<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PROCESS_BLOCK_H_
