#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PAGE_TABLE_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PAGE_TABLE_H_

#include "hermes_shm/base/defects.h"
#include "hermes_shm/memory/allocator/multi_process/block_marks.h"
#include "hermes_shm/memory/allocator/multi_process/carve_order.h"

namespace hshm::ipc::multi_process {

/**
 * The lists of one page and the spans of pages: every store to a page entry is made here.
 * Protocol: docs/protocols.md, C.
 *
 * Invariant  A carved block is in exactly one place: a user's, local_, the untaken part of remote_,
 *            a heap's free_, a pending run, or in flight inside one call. What bearers say of runs
 *            in remote_ is not changed before the blocks are handed out. A span is its head's
 *            owner_ and span_, and at most one further page that holds kSpanInterior.
 * Ordering   Push releases what the bearer says and the user's last writes; Drain acquires it, of
 *            all runs. Retire releases owner_ = 0, OpenPage acquires it. All else: program order.
 * ABA        Nobody pops from remote_; its push count is never reset. Heap ids are never reused.
 * Crash      Each pair of stores names a chain under its new name before the old one is dropped,
 *            so Drain, Settle and Recount can be repeated from any point by whoever acts as owner.
 */
template <typename Config>
class HSHM_API PageTable {
 public:
  PageTable() = default;
  PageTable(const Region& region, Offset table_offset, uint64_t page_count = 0)
      : region_(region),
        table_(region.At<PageEntry>(table_offset)),
        marks_(region, MarksBehind(table_offset, page_count)) {}

  /** One past what describes the pages: entries, and marks where the policy has them. */
  static Offset EndOf(Offset table_offset, uint64_t page_count) {
    return MarksBehind(table_offset, page_count) + Marks::BytesFor(page_count * Config::kPageBytes);
  }

  const Region& region() const { return region_; }
  HSHM_INLINE PageEntry* Entry(uint32_t page) const { return table_ + page; }
  HSHM_INLINE PageEntry* EntryOf(Offset offset) const {
    return table_ + (offset >> Config::kPageShift);
  }
  static uint32_t PageOf(Offset offset) {
    return static_cast<uint32_t>(offset >> Config::kPageShift);
  }
  static Offset OffsetOf(uint32_t page) { return Offset{page} << Config::kPageShift; }
  /** The head of the span that a page in use belongs to. */
  uint32_t HeadOf(uint32_t page) const {
    const PageEntry* entry = Entry(page);
    return entry->owner_.Get() == kSpanInterior ? page - entry->back_.Get() : page;
  }

  /** Whether heap records are in a page in use: what they hold may be read then. */
  static bool HoldsRecords(const PageEntry* entry) {
    return KindOf(entry->shape_.GetAcquire()) == kKindHeaps;  // pairs with OpenRecordPage
  }

  /** Bytes of the blocks of a page: of its class, or the whole run. */
  uint64_t BlockBytes(uint32_t page) const {
    const uint32_t shape = Entry(page)->shape_.Get();
    return KindOf(shape) == kKindClass ? ClassBytes(ClassOfShape(shape))
                                       : uint64_t{Entry(page)->span_.Get()} * Config::kPageBytes;
  }
  /** Blocks that the page can hold. */
  uint32_t Capacity(uint32_t page) const {
    const uint32_t shape = Entry(page)->shape_.Get();
    if (KindOf(shape) != kKindClass) return 1;
    return static_cast<uint32_t>(uint64_t{Entry(page)->span_.Get()} * Config::kPageBytes /
                                 ClassBytes(ClassOfShape(shape)));
  }

  CarveOrder OrderOf(uint32_t page) const {
    return OrderOf(page, Entry(page)->span_.Get(), Capacity(page));
  }

  HSHM_INLINE uint64_t Link(Offset block) const {
    return LinkWord(block)->load(
        std::memory_order_relaxed);  // relaxed: ordered by who published it
  }
  HSHM_INLINE void SetLink(Offset block, uint64_t next) const {
    LinkWord(block)->store(next, std::memory_order_relaxed);  // relaxed: private until published
  }

  /** Carved blocks that are not in local_: somebody's, on their way, or in a heap's class slot. */
  static uint32_t Used(const PageEntry* entry) {
    const uint32_t used = entry->used_.Get();  // of a heap at work the two may not fit
    return used - (used != 0 && (entry->shape_.Get() & kInHand) != 0 ? 1 : 0);
  }

  /** Pushes that the owner has not taken yet. */
  static uint32_t Pending(const PageEntry* entry) {
    const uint64_t word = entry->remote_.load(std::memory_order_relaxed);  // relaxed: a count only
    return RemoteWord::Pushed(word) - entry->drained_.Get();
  }

  // ---- blocks --------------------------------------------------------------------------------

  /** A free by somebody who is not the owner. One CAS; the entry is not touched after it. */
  void Push(uint32_t page, Offset block) const { PushRun(page, block, 1); }
  /** The same for a run, which is in no heap's pending_ any more. */
  void Push(uint64_t run) const {
    PushRun(RunWord<Config>::Page(run), RunWord<Config>::Bearer(run), RunWord<Config>::Count(run));
  }
  /** The i-th of a run's other blocks. No bearer leads out of its page. */
  HSHM_INLINE Offset OtherOf(Offset bearer, uint32_t i) const {
    const uint64_t number = BearerWord(bearer, RunBearer::PlaceOf(i))
                                ->load(std::memory_order_relaxed);  // relaxed: as a link
    return (bearer | (Config::kPageBytes - 1)) - (Config::kPageBytes - 1) +
           number * RunWord<Config>::kUnit % Config::kPageBytes;
  }
  /** Where the bearer says which its others are, in NumberOf. */
  HSHM_INLINE Atomic<uint16_t>* NumbersOf(Offset bearer) const {
    return BearerWord(bearer, RunBearer::kNumbers);
  }
  static HSHM_INLINE uint16_t NumberOf(Offset block) {
    return static_cast<uint16_t>(block % Config::kPageBytes / RunWord<Config>::kUnit);
  }
  /** Whoever has the run: makes it a list, from the bearer on, whose end is not written. Says the
   * same when it is repeated. @return the last block */
  HSHM_INLINE Offset LinkRun(Offset bearer, uint32_t others) const {
    Offset last = bearer;
    for (uint32_t i = 0; i < others; ++i) {
      const Offset next = OtherOf(bearer, i);
      SetLink(last, next);
      last = next;
    }
    return last;
  }
  /** Owner: moves all pushed blocks to local_. Repeatable. */
  void Drain(uint32_t page) const;

  /** Owner: those that Carve would list now. None when all are carved. */
  FreshBlocks NextToCarve(uint32_t page, uint64_t bytes) const;
  /** Owner: lists up to `bytes` worth of fresh blocks, or one. False when all are carved. */
  bool Carve(uint32_t page, uint64_t bytes) const;

  /** Owner, in its slow path: from now on the page is the one that the class refills from, which
   * nobody takes: used_ is one too high. */
  static void TakeInHand(PageEntry* entry) {
    entry->used_.Set(entry->used_.Get() + 1);
    entry->shape_.Set(entry->shape_.Get() | kInHand);
  }
  /** Owner, in its slow path: the page is as all others again. */
  static void PutDown(PageEntry* entry) {
    entry->shape_.Set(entry->shape_.Get() & ~kInHand);
    entry->used_.SetRelease(entry->used_.Get() - 1);
  }
  /** Owner of a page in hand whose local_ is not empty: moves that list to the heap's class slot.
   * @return its first block */
  static HSHM_INLINE Offset TakeLocal(PageEntry* entry, OwnedWord<uint64_t>* slot) {
    const Offset first = entry->local_.Get();
    slot->Set(first);
    entry->local_.Set(0);
    entry->used_.Set(entry->carved_.Get() + 1);
    return first;
  }
  /** The same of its first blocks, `most` of them at most. @return how many */
  uint32_t TakeSomeLocal(PageEntry* entry, OwnedWord<uint64_t>* slot, uint32_t most) const;

  /** The next of a class slot's list, off the paths that count. Stops with Corruption when the link
   * leads out of the region. */
  Offset NextListed(Offset block) const noexcept {
    const Offset next = Link(block);
    if (next % 16 != 0 || (next != 0 && !region_.Contains(next))) {
      defect::Corruption("the link of a free block", block);
    }
    return next;
  }
  /** Ends a class slot's list before that block, if it is there. */
  void EndListAt(OwnedWord<uint64_t>* slot, Offset end) const;
  /** Whoever acts for the heap: pushes each block that a mixed slot lists onto its own page.
   * Repeatable; a death in it loses the block in its hands. */
  void PushMixed(OwnedWord<uint64_t>* slot) const;

  /** Whoever acts as owner: gives a class slot's list back to its page. Repeatable.
   * @return the page, or kNoPage when the slot was empty */
  uint32_t Settle(OwnedWord<uint64_t>* slot) const;

  /** Whoever acts as owner of a page that is not used meanwhile: drains it, puts it down, makes
   * carved_ and used_ exact. */
  void Recount(uint32_t page) const;

  // ---- lists of the dead -----------------------------------------------------------------------
  // They may have written through a pointer to a free block, and have died of it: a list ends
  // before the block whose link leads to none that the list can have. It is lost, as are those
  // behind it.

  /** Acting for a dead heap, before its class slots are settled. A list that leads back ends. */
  void CutList(uint32_t slot, OwnedWord<uint64_t>* first, HeapId heap) const;
  /** Whether a heap's run of remote frees, which it has not posted, may be: it has blocks of its
   * page, each once. */
  bool IsWhole(uint64_t run) const {
    using Run = RunWord<Config>;
    return IsRun(Run::Page(run), Run::Bearer(run), Run::Count(run) - 1);
  }
  /** Recount for a dead owner. */
  void RecountOfDead(uint32_t page) const;

  // ---- what Checked does beside; nothing in Fast ---------------------------------------------

  /** Makes the memory of the pages' marks usable. False when the system has none. */
  bool CommitMarks(uint32_t first, uint32_t pages) const {
    if constexpr (Config::kChecked) {
      const Offset marks = region_.OffsetOf(&marks_.At(OffsetOf(first)));
      return region_.services_->Commit(marks, Marks::BytesFor(pages * Config::kPageBytes));
    } else {
      return true;
    }
  }
  /** Owner, before a block of a list is looked at: stops unless it is a free one of the class. */
  HSHM_INLINE void CheckFree(Offset block, uint32_t size_class) const {
    if constexpr (Config::kChecked) {
      if (HSHM_UNLIKELY(!marks_.Is(block, Marks::OfClass(size_class)))) StopForListed(block);
    }
  }
  /** The same of a run. */
  HSHM_INLINE void CheckFreeRun(Offset block) const {
    if constexpr (Config::kChecked) {
      if (HSHM_UNLIKELY(marks_.Get(block) != Marks::kRun)) StopForListed(block);
    }
  }
  /** Owner, the block is off its list: it is a user's. */
  HSHM_INLINE void Give(Offset block) const {
    if constexpr (Config::kChecked) marks_.Give(block);
  }
  /** Both, of a run. */
  void GiveRun(Offset block) const {
    if constexpr (Config::kChecked) {
      if (marks_.IsLive(block)) StopForListed(block);
      marks_.Set(block, Marks::kRun | Marks::kLive);
    }
  }
  /** Owner: blocks [first, end) of a page are about to be listed for the first time. */
  void MarkCarved(Offset first, Offset end, uint64_t block_bytes, uint32_t shape) const {
    if constexpr (Config::kChecked) {
      const uint8_t mark = MarkOf(shape);
      for (Offset block = first; block < end; block += block_bytes) marks_.Set(block, mark);
    }
  }
  /** Owner, before a free. Stops with DoubleFree, or InvalidFree. */
  HSHM_INLINE void Return(Offset block) const {
    if constexpr (Config::kChecked) {
      if (HSHM_UNLIKELY(!marks_.Return(block))) StopForBlock("Free", block);
    }
  }
  /** Anybody, of a page in use, before a push. Stops with DoubleFree, or InvalidFree. */
  void ReturnFromAfar(Offset block) const {
    if constexpr (Config::kChecked) {
      if (!marks_.ReturnFromAfar(block)) StopForBlock("Free", block);
    }
  }
  /** Stops with DoubleFree or InvalidFree unless a user has a block in a page in use there. */
  void RequireLive(const char* operation, Offset block) const {
    if constexpr (Config::kChecked) {
      if (!marks_.IsLive(block)) StopForBlock(operation, block);
    }
  }
  /** Stops with Corruption or OverlappingBlock unless a free block of the page is there. */
  HSHM_INLINE void RequireFree(uint32_t page, Offset block) const {
    if (HSHM_UNLIKELY(!IsIn(page, block))) {
      defect::Corruption("the link of a free block", OffsetOf(page));
    }
    if constexpr (Config::kChecked) StopUnlessFree(block);
  }
  /** For checks: whether a block may begin there. */
  bool IsMarked(Offset block) const {
    if constexpr (Config::kChecked) {
      return marks_.Get(block) != 0;
    } else {
      return false;
    }
  }
  /** For tests: somebody comes to know a block that was in flight in a death. */
  void MarkLive(Offset block) const {
    if constexpr (Config::kChecked) {
      marks_.Set(block, MarkOf(Entry(HeadOf(PageOf(block)))->shape_.Get()) | Marks::kLive);
    }
  }
  /** Whether a list of a page with that shape may have the block; true where there are no marks. A
   * block that was never listed has none. */
  bool IsMarkedFree(Offset block, uint32_t shape) const {
    if constexpr (Config::kChecked) {
      return marks_.Get(block) == MarkOf(shape);
    } else {
      return true;
    }
  }
  /** For checks: false where there are no marks. */
  bool IsMarkedLive(Offset block) const {
    if constexpr (Config::kChecked) {
      return marks_.IsLive(block);
    } else {
      return false;
    }
  }
  /** No block that could be freed begins there: DoubleFree when one was before, else InvalidFree.
   */
  [[noreturn]] void StopForBlock(const char* operation, Offset block) const noexcept;
  /** A large block that is freed, root mutex held. */
  void NoteFormerLarge(uint32_t page) const;

  // ---- pages and spans -----------------------------------------------------------------------

  /** What the key of a page of such a shape is. */
  static constexpr uint64_t KeyOf(uint32_t shape, HeapId id) {
    const uint32_t slot = ClassOfShape(shape);
    if (slot < Config::kFirstMixedSlot) return FreeKey::Make(id);
    return KindOf(shape) == kKindClass ? FreeKey::MakeMixed(id, slot) : FreeKey::Make(id, slot);
  }
  /** Owner: frees of blocks of this span find it from here on, by the slot that shape_ names. */
  void SetKeys(uint32_t head, HeapId id) const;
  /** Acting for a dead owner, before there is another: frees of blocks of this span go the way of
   * remote frees from here on, so that nobody takes one for its own process's. A run keeps its key,
   * which names no process, and says that a user has it. */
  void ClearKeysOfDead(uint32_t head) const;
  /** Owner, the page is to be let go: no free finds it by its key. */
  static void ClearKey(PageEntry* entry) { entry->key_.Set(0); }

  /** Opens pages [first, first + pages) for a heap: head first, each page by CAS.
   * False, and nothing open, when another has one of them. Whether all of the span's memory reads
   * as zero: nobody has had any of its pages since they were committed. */
  bool OpenSpan(uint32_t first, uint32_t pages, HeapId id, bool* is_zero = nullptr) const;

  /** Owner: one page more or many fewer. Extend is false when the next page is not free. */
  bool ExtendSpan(uint32_t head, uint32_t pages, bool* is_zero = nullptr) const;
  void ShrinkSpan(uint32_t head, uint32_t pages) const;

  /** Owner, used_ == 0: empties the page's words and lets the whole span go. */
  void Retire(uint32_t head) const;

  /** Retire for a page whose blocks are deleted whether or not somebody has them. */
  void Delete(uint32_t head) const;

  /** Retire for a span of which nobody has a block, whatever its lists and counts are like: none is
   * read. Who has taken it may have it from a process that died in the middle of a change, or that
   * wrote into its free blocks. */
  void Discard(uint32_t head) const;

  /** Acting for an owner that may have died, of a span that nobody changes meanwhile: the page
   * behind it may be an extension, or the end of a span, that was cut in the middle. */
  void ClearCutExtension(uint32_t head, uint32_t page_end) const;

  /** One list of a page, for checks: its length, or kBroken when a link is wrong or it is longer
   * than limit. visit(block index) returns false to call the list broken. */
  static constexpr uint32_t kBroken = ~uint32_t{0};
  /** The list of a class slot, of a heap that may be at work: calls visit(page, block) for each.
   * @return its length, or kBroken when a link is wrong */
  template <typename Visit>
  uint32_t WalkSlot(uint32_t slot, uint64_t first, Visit visit) const {
    uint32_t length = 0;
    for (uint64_t block = first; block != 0; block = Link(block), ++length) {
      if (length == Config::kMaxListLength || !region_.Contains(block)) return kBroken;
      const uint32_t page = HeadOf(PageOf(block));
      const uint64_t bytes = BlockBytes(page);
      const bool is_block = ClassOfShape(Entry(page)->shape_.Get()) == slot && bytes != 0 &&
                            (block - OffsetOf(page)) % bytes == 0;
      if (!is_block) return kBroken;
      visit(page, block);
    }
    return length;
  }
  template <typename Visit>
  uint32_t Walk(uint32_t page, uint64_t first, uint32_t limit, Visit visit) const {
    const Offset begin = OffsetOf(page);
    const uint64_t bytes = BlockBytes(page);
    if (bytes == 0) return kBroken;  // the page went free while we looked
    uint32_t length = 0;
    for (uint64_t block = first; block != 0 && length < limit; block = Link(block), ++length) {
      const uint64_t index = (block - begin) / bytes;
      if (block < begin || index >= Capacity(page) || (block - begin) % bytes != 0) return kBroken;
      if (!visit(static_cast<uint32_t>(index))) return kBroken;
      if (length + 1 == limit) return limit;
    }
    return length;
  }

  /** Of a run of that many blocks: calls visit(block index) for each. @return how many, less where
   * one is none of the page's, or visit was false */
  template <typename Visit>
  uint32_t WalkRun(uint32_t page, Offset bearer, uint32_t blocks, Visit visit) const {
    const Offset begin = OffsetOf(page);
    const uint64_t bytes = BlockBytes(page);
    for (uint32_t i = 0; i < blocks; ++i) {
      const Offset place = (i == 0 ? bearer : OtherOf(bearer, i - 1)) - begin;  // huge: before it
      if (bytes == 0 || place % bytes != 0 || place / bytes >= Capacity(page)) return i;
      if (!visit(static_cast<uint32_t>(place / bytes))) return i;
    }
    return blocks;
  }
  /** The same of all that the owner has not taken yet. */
  template <typename Visit>
  uint32_t WalkPosted(uint32_t page, Visit visit) const {
    const uint64_t word =
        Entry(page)->remote_.load(std::memory_order_acquire);  // pairs with PushRun
    const uint32_t count = RemoteWord::Pushed(word) - Entry(page)->drained_.Get();
    Offset bearer = FromRemoteHead(page, RemoteWord::Head(word));
    uint32_t length = 0;
    if (BlockBytes(page) == 0) return 0;  // the page went free while we looked
    while (length < count && IsIn(page, bearer)) {
      const uint32_t blocks = OthersOf(bearer) + 1;
      if (blocks > count - length || blocks > MostOthers(page) + 1) break;
      if (WalkRun(page, bearer, blocks, visit) != blocks) break;
      length += blocks;
      bearer = NextPosted(page, bearer);
    }
    return length;
  }

 private:
  /** A span is carved from its beginning, where it has memory when it is opened. */
  static CarveOrder OrderOf(uint32_t page, uint32_t span, uint32_t capacity) {
    return CarveOrder(span == 1 ? page : 0, capacity);
  }
  using Marks = std::conditional_t<Config::kChecked, BlockMarks, NoMarks>;

  static Offset MarksBehind(Offset table_offset, uint64_t page_count) {
    return table_offset + page_count * sizeof(PageEntry);
  }
  static uint8_t MarkOf(uint32_t shape) {
    return KindOf(shape) == kKindClass ? BlockMarks::OfClass(ClassOfShape(shape))
                                       : BlockMarks::kRun;
  }
  bool WasBlock(const PageEntry* entry, Offset block) const;
  void NoteFormerBlocks(uint32_t head) const;
  void ClearMarks(uint32_t head) const;
  /** A list has led to what is no free block: OverlappingBlock when a user has it, or Corruption.
   */
  [[noreturn]] void StopForListed(Offset block) const noexcept;
  void StopUnlessFree(Offset block) const;
  /** Whether that is in the memory of a span. */
  HSHM_INLINE bool IsIn(uint32_t head, Offset block) const {
    const uint32_t span = Entry(head)->span_.Get();
    return block % kDefaultAlignment == 0 &&
           block - OffsetOf(head) < uint64_t{span == 0 ? 1 : span} * Config::kPageBytes;
  }
  /** Whether one of the page's blocks begins there, which nobody has, and in Checked was listed. */
  bool IsFreeBlock(uint32_t page, Offset block) const;
  /** Whether a class slot of a heap may list a block: one of its process's pages. */
  bool IsListable(uint32_t slot, Offset block, HeapId heap) const;
  /** Ends a list before the first block that is_good(block, its place) does not find good, and
   * that which leads there; or when it has so many. */
  template <typename IsGood>
  void EndList(OwnedWord<uint64_t>* first, uint32_t most, IsGood is_good) const;
  /** Drain for a dead owner, but for used_. */
  void DrainOfDead(uint32_t page) const;
  /** A drain that was cut between its two stores has pushed blocks in local_ already: they count
   * as drained from here on. Repeatable; for whoever acts for an owner that may have died in it. */
  void FinishCutDrain(uint32_t page) const;
  void PushRun(uint32_t page, Offset bearer, uint32_t blocks) const;
  /** Whether the page may have such a run, in which each block is free and there once. */
  bool IsRun(uint32_t page, Offset bearer, uint32_t others) const;
  /** RunBearer::kBroken when somebody wrote there. */
  HSHM_INLINE uint32_t OthersOf(Offset bearer) const {
    return RunBearer::Others(BearerWord(bearer, RunBearer::kOthers)
                                 ->load(std::memory_order_relaxed));  // relaxed: as a link
  }
  /** So many others a bearer of the page, which has blocks, may have: they fit into it. */
  uint32_t MostOthers(uint32_t page) const {
    const uint64_t most = RunBearer::MostOthers(BlockBytes(page));
    return static_cast<uint32_t>(bits::Min(most, uint64_t{RunWord<Config>::kMaxBlocks - 1}));
  }
  HSHM_INLINE Offset NextPosted(uint32_t page, Offset bearer) const {
    const uint32_t next = BearerWord(bearer, RunBearer::kNext)
                              ->load(std::memory_order_relaxed);  // relaxed: as a link
    return FromRemoteHead(page, next);
  }
  HSHM_INLINE Atomic<uint16_t>* BearerWord(Offset bearer, Offset place) const {
    return region_.At<Atomic<uint16_t>>(bearer + place);
  }
  /** Owner of a page just opened, which is nobody's first time any more. @return whether it was */
  static bool TakeZeroMark(PageEntry* entry) {
    if (entry->committed_.Get() != kCommittedZero) return false;
    entry->committed_.Set(kCommitted);
    return true;
  }
  HSHM_INLINE Atomic<uint64_t>* LinkWord(Offset block) const {
    return region_.At<Atomic<uint64_t>>(block);
  }
  uint32_t ToRemoteHead(uint32_t page, Offset block) const {
    return static_cast<uint32_t>((block - OffsetOf(page)) / RemoteWord::kUnit) + 1;
  }
  Offset FromRemoteHead(uint32_t page, uint32_t head) const {
    return head == 0 ? 0 : OffsetOf(page) + uint64_t{head - 1} * RemoteWord::kUnit;
  }

  Region region_;
  PageEntry* table_ = nullptr;
  [[no_unique_address]] Marks marks_;
};

extern template class PageTable<LargePages>;
extern template class PageTable<SmallPages>;
extern template class PageTable<CheckedLargePages>;
extern template class PageTable<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PAGE_TABLE_H_
