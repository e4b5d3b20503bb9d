#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_THREAD_HEAP_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_THREAD_HEAP_H_

#include "hermes_shm/base/defects.h"
#include "hermes_shm/memory/allocator/multi_process/heap_front.h"
#include "hermes_shm/memory/allocator/multi_process/page_list.h"
#include "hermes_shm/memory/allocator/multi_process/page_table.h"
#include "hermes_shm/memory/allocator/multi_process/pending_frees.h"
#include "hermes_shm/platform/private_pages.h"

namespace hshm::ipc::multi_process {

template <typename Config>
class ProcessBlock;
template <typename Config>
class Sweeper;
template <typename Config>
class Taker;

/** Fresh memory that a refill lists at a time: enough to make its cost small, little to touch. */
inline constexpr uint64_t kCarveBytes = 4096;
/** Pages without room that a refill looks at for remote frees; all of them before more is asked. */
inline constexpr uint32_t kPolledPages = 4;

/**
 * Runs of so many pages at most stay with their heap when they are freed, on a list of their
 * length, up to half as many pages as the heap's runs in use have, or kMaxIdlePages and a quarter
 * of a thread unit: a page is opened and let go by one atomic operation each, which costs more than
 * all else. To others they are what any page is of which nobody has a block: a rank in need takes
 * them.
 */
inline constexpr uint32_t kMaxIdleRunPages = 16;
inline constexpr uint32_t kMaxIdlePages = 64;
/** An idle run serves requests that are so much shorter, too: an eighth, and one page from four on.
 * Not in the policy Checked, which tells a wrong size by the block. */
template <typename Config>
constexpr uint32_t IdleSlack(uint32_t pages) {
  return Config::kChecked ? 0 : (pages + 4) / 8;
}

/** How hard a heap tries to find room; each includes those before it. */
enum class Effort {
  kThread,    // its own pages and the free pages of its thread units
  kCollect,   // drain all own pages first
  kProcess,   // free pages of the process, another thread unit
  kRoot,      // another process unit
  kTake,      // pages of sleepers
  kPressure,  // flush every cache, adopt from the dead, and once more
  kEnd,
};

/**
 * A thread's heap: the private part. Its shared part is a HeapRecord; the pages that carry its id
 * are its own. One thread at a time uses it. Protocols: docs/protocols.md, C and E.
 *
 * The slow path holds record_->lock_ whenever it changes a page's lists, and reads the owner word
 * again after it has the lock: a rank in need may have taken the page. It lets the lock go before
 * it asks the process.
 */
template <typename Config>
class HSHM_API ThreadHeap : public HeapFront<Config> {
 public:
  using Freed = typename HeapFront<Config>::Freed;

  ThreadHeap(ProcessBlock<Config>* process, uint32_t index, HeapId id);

  uint32_t index() const { return index_; }
  HeapId id() const { return id_; }
  HeapRecord<Config>* record() const { return record_; }

  HSHM_INLINE Offset Allocate(uint64_t size_bytes) noexcept {
    const Offset block = this->TryAllocate(size_bytes);
    return HSHM_LIKELY(block != 0) ? block : AllocateRest(size_bytes);
  }
  HSHM_INLINE void Free(Offset block) noexcept {
    const Freed freed = this->TryFree(block);
    if (HSHM_UNLIKELY(freed != Freed::kDone)) FreeRest(block, freed);
  }

  /** Allocate, when TryAllocate has said no. Not in line: callers are many. */
  HSHM_NOINLINE Offset AllocateRest(uint64_t size_bytes) noexcept {
    const Offset block = this->TryRefill(size_bytes);
    return HSHM_LIKELY(block != 0) ? block : AllocateSlow(size_bytes);
  }
  /** The same, when TryRefill has said no as well. */
  Offset AllocateSlow(uint64_t size_bytes) noexcept;
  /** What is left of Free when TryFree has said so. */
  void FreeRest(Offset block, Freed freed) noexcept;
  /** Of any block: kDone or kPageWaits; a defect for what is none. */
  Freed TryFreeAnywhere(Offset block) noexcept;
  /** When TryFree has said kOthers: true, it is free; else FreeFar must follow. */
  HSHM_INLINE bool TryFreeToRun(Offset block) noexcept { return pending_.TryExtend(block); }
  /** Any block that this heap's front did not take, and a defect for what is none. */
  Freed FreeFar(Offset block) noexcept;
  /** After kPageWaits: whether FinishFree would do anything. Looks only, at what is this heap's. */
  bool HasToFinish(Offset block) const noexcept {
    const uint32_t head = pages_.HeadOf(PageTable<Config>::PageOf(block));
    const PageEntry* entry = pages_.Entry(head);
    const uint32_t list = notes_[head].list_;
    if (list >= kFull || IsListTooLong(entry)) return true;
    if (entry->used_.Get() != 0) return false;
    // Empty: the only page with room of its class stays.
    const bool stays = list >= kRoomy && lists_[list].size() == 1;
    return !stays || PageTable<Config>::Pending(entry) != 0;
  }
  /** After kPageWaits: the page has room again, or is empty. */
  void FinishFree(Offset block) noexcept;
  Offset AllocateAligned(uint64_t size_bytes, uint64_t alignment) noexcept;
  /** Zeroed. What is known to be zero is not touched: see docs/protocols.md, D. */
  Offset AllocateZeroed(uint64_t size_bytes) noexcept;
  /** Whether the offset lies in the data of the region. */
  HSHM_INLINE bool IsPlace(Offset block) const noexcept {
    return block - data_begin_ < data_bytes_;  // huge where it lies before
  }
  /** Stops with ForeignPointer if not. */
  void CheckPlace(const char* operation, Offset block) const noexcept {
    if (HSHM_UNLIKELY(!IsPlace(block))) defect::ForeignPointer(operation, block, data_end_);
  }
  /** The same before anything else than a free; Checked: unless a user has a block there. Of large
   * blocks the root says so. */
  void CheckBlock(const char* operation, Offset block) const noexcept {
    CheckPlace(operation, block);
    if (pages_.EntryOf(block)->owner_.Get() != kFreePage) pages_.RequireLive(operation, block);
  }
  /** Stops with WrongSize unless a request of this size and alignment would have got such a block.
   */
  void RequireSize(const char* operation, Offset block, uint64_t size_bytes,
                   uint64_t alignment) const noexcept;
  /** The block grown or shrunk where it is; false when it would have to move. */
  bool ResizeInPlace(Offset block, uint64_t new_bytes) noexcept;
  /** Bytes that the block can hold. */
  uint64_t UsableBytes(Offset block) const noexcept;

  /** Its thread ends, or needs what others may have made of its remote frees: posts them. False
   * when the heap's lock is not to be had. */
  bool PostPending() noexcept;
  /** Gives every list back to its page and puts the pages down. Also right when a TryRefill was cut
   * anywhere. */
  void SettleAll() noexcept;
  /** Does that, posts remote frees, drains all pages, frees the empty ones and the thread units
   * that are whole. What is left is what somebody uses. */
  void Flush() noexcept;

 private:
  friend class ProcessBlock<Config>;
  friend class Sweeper<Config>;
  friend class Taker<Config>;
  using Front = HeapFront<Config>;
  using Front::data_end_;
  using Front::id_;
  using Front::in_hand_;
  using Front::page_key_;
  using Front::pages_;
  using Front::process_key_;
  using Front::record_;
  using Front::room_;

  /** Numbers of the lists in PageNote::list_. */
  enum ListKind : uint32_t {
    kRuns = 1,
    kGone = 2,
    kRoomy = 3,
    kFull = kRoomy + Config::kClassCount,
    kIdle = kFull + Config::kClassCount,  // plus the pages of the run
    kListEnd = kIdle + kMaxIdleRunPages + 1
  };

  /** Holds the heap's lock for a scope. What a taker's death cut in it needs no repair. Nothing in
   * such a scope is a cancellation point, so unlike MutexGuard it need not ask the thread library.
   * A call waits for it in vain once, and then only asks. */
  class SlowPath {
   public:
    explicit SlowPath(ThreadHeap& heap) noexcept
        : heap_(heap),
          is_held_(HSHM_LIKELY(heap.record_->lock_.TakeFree(heap.identity_)) ||
                   (!heap.is_locked_out_ && heap.Wait())) {}
    ~SlowPath() {
      if (HSHM_LIKELY(is_held_)) heap_.record_->lock_.Unlock(heap_.identity_);
    }
    SlowPath(const SlowPath&) = delete;
    SlowPath& operator=(const SlowPath&) = delete;
    bool IsHeld() const { return is_held_; }

   private:
    ThreadHeap& heap_;
    bool is_held_;
  };

  void UseRecord(HeapRecord<Config>* record) noexcept {
    record_ = record;
    pending_.Use(record);
  }
  Offset AllocateClass(uint64_t size_bytes) noexcept;
  Offset AllocateRun(uint32_t pages, uint32_t alignment_pages) noexcept;
  Offset AllocateIdleRun(uint32_t pages) noexcept;
  bool KeepIdle(uint32_t page) noexcept;
  void LetIdleGo() noexcept;
  Offset AllocateLarge(uint64_t size_bytes, uint64_t alignment) noexcept;

  /** Of every call that may need the lock: it may wait. */
  void BeginCall() noexcept { is_locked_out_ = false; }
  bool Wait() noexcept;
  void AnswerPressure() noexcept;
  Offset BorrowLonger(uint64_t size_bytes) noexcept;
  bool IsCutShort(const PageEntry* entry, uint32_t size_class) const noexcept;
  bool RefillFromOwned(uint32_t size_class) noexcept;
  uint32_t FullestOf(PageList* list) noexcept;
  /** Of a page's blocks, but for those whose frees wait in its remote list. */
  uint32_t InUse(uint32_t page) const noexcept {
    const PageEntry* entry = pages_.Entry(page);
    return PageTable<Config>::Used(entry) - PageTable<Config>::Pending(entry);
  }
  /** A free has used up the room of its slot, for runs or for blocks of wide pages. */
  bool IsListTooLong(const PageEntry* entry) const noexcept {
    const uint32_t slot = ClassOfShape(entry->shape_.Get());
    return slot >= Config::kFirstWideSlot && static_cast<int32_t>(room_[slot]) < 0;
  }
  struct RunPages {
    uint32_t listed_;
    uint32_t with_room_;
  };
  RunPages CountRunPages() const noexcept;
  /** Free runs of i + 1 pages that their slot lists. */
  uint32_t Listed(uint32_t i) const noexcept {
    return static_cast<uint32_t>(run_places_[i]) - room_[Config::kFirstRunSlot + i];
  }
  void TakeRoom(uint32_t i) noexcept;
  void MakeRoomForRuns(uint32_t slot) noexcept;
  void ResetRoom(uint32_t slot) noexcept;
  uint32_t MaxListed(uint32_t size_class) const noexcept;
  void TrimList(uint32_t slot, uint32_t kept_blocks) noexcept;
  void TrimLists() noexcept;
  void SettleMixed(uint32_t slot) noexcept;
  struct Home {
    uint32_t page_;  // kNoPage: another heap's
    bool waits_;     // FinishPage must follow
  };
  Home GiveHome(Offset block) noexcept;
  void SendHome(Offset block) noexcept;
  void FinishPage(uint32_t page) noexcept;
  void PutDown(PageEntry* entry, uint32_t size_class) noexcept;
  void ListRoom(uint32_t page, uint32_t size_class) noexcept;
  bool RefillInTurn(uint32_t size_class) noexcept;
  bool FillFrom(uint32_t page, uint32_t size_class) noexcept;
  bool StartClassPage(uint32_t head, uint32_t size_class) noexcept;

  /** Opens a span of free pages; kNoPage when this effort finds none. Its used_ is 1: nobody takes
   * it before its first block is out. Memory is asked for as the kind needs it. */
  uint32_t OpenPages(PageKind kind, uint32_t pages, uint32_t alignment, Effort effort) noexcept;
  bool IsWorthJoining(uint32_t pages, uint32_t alignment, Effort effort) const noexcept;
  uint32_t OpenHint(PageKind kind, uint32_t first, uint32_t pages) noexcept;
  bool CommitFor(uint32_t first, uint32_t pages) noexcept;
  bool CarveMore(uint32_t head, uint32_t size_class) noexcept;

  /** Drains a page; frees it when it is empty (and, unless `all`, not its class's only one). */
  void Visit(uint32_t page, bool all) noexcept;
  void Collect(bool all) noexcept;
  /** The page carries our id: into the list where it belongs. */
  void Adopt(uint32_t page) noexcept;
  /** Takes a page out of whatever list has it. */
  void Unlist(uint32_t page) noexcept;
  /** A span that carries our id from now on; in no list yet. @return pages behind it that a longer
   * span of ours had here when somebody took it: they may still be in our hand */
  uint32_t NoteOwned(uint32_t page, uint32_t span) noexcept;
  void List(uint32_t page, uint32_t list) noexcept {
    ListOf(list).PushFront(notes_.data(), page, list);
    if (list == kRuns) run_pages_ += notes_[page].span_;
  }
  bool ResizeRun(uint32_t head, uint32_t present, uint32_t pages) noexcept;
  void NoteSpan(uint32_t page, uint32_t span) noexcept {
    if (notes_[page].list_ == kRuns) run_pages_ += span - notes_[page].span_;
    notes_[page].span_ = span;
  }
  PageList& ListOf(uint32_t list) noexcept { return lists_[list]; }

  /** Pages that this heap let go, or could not open: back to where they belong. */
  void ReturnPages(uint32_t first, uint32_t pages) noexcept;
  void FreeToUnit(uint32_t first, uint32_t pages) noexcept;
  void FlushGone() noexcept;
  bool IsWorthCollecting(Effort effort) const noexcept;
  BuddyEngine Engine() noexcept;

  ProcessBlock<Config>* process_;
  LockIdentity identity_;             // its process's
  const Atomic<uint32_t>* pressure_;  // in the root's header
  Offset data_begin_;
  uint64_t data_bytes_;
  uint32_t index_;
  uint32_t seen_pressure_ = 0;
  uint32_t commit_pages_ = 1;  // pages to make usable at the next fresh one; doubles
  uint32_t opened_spans_ = 0;  // since the last Collect
  uint32_t owned_spans_ = 0;
  uint32_t run_pages_ = 0;       // in runs on the list kRuns: in use, as this heap last saw it
  uint32_t idle_pages_ = 0;      // in runs on the lists kIdle
  uint32_t max_idle_pages_ = 0;  // of them, however few runs are in use
  uint32_t idle_turn_ = 0;       // length of the run that goes next when there are too many
  uint32_t trim_turn_ = 0;       // length - 1 of the runs of which some go home next
  uint32_t max_listed_[Config::kClassCount] = {};  // of each mixed slot of a class, see MaxListed
  /** Of each length of runs, - 1, what its class slot's list and its room are together. */
  int32_t run_places_[Config::kMaxSlotRunPages] = {};
  uint32_t idle_lengths_ = 0;  // bit n: there are idle runs of n pages
  uint32_t refills_since_flush_ = 0;
  bool is_out_of_memory_ = false;  // the last OpenHint failed for want of memory, or of the lock
  bool is_locked_out_ = false;     // this call has waited for the lock in vain, see BeginCall
  bool is_zero_ = false;           // what was opened last, or the last large block, reads as zero
  BuddyLists free_pages_{};        // of its thread units; hints
  PendingFrees<Config> pending_;
  PrivatePages<PageNote> notes_;  // by page number
  PageList lists_[kListEnd];
};

extern template class ThreadHeap<LargePages>;
extern template class ThreadHeap<SmallPages>;
extern template class ThreadHeap<CheckedLargePages>;
extern template class ThreadHeap<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_THREAD_HEAP_H_
