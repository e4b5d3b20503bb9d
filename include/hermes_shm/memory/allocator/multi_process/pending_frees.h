#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PENDING_FREES_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PENDING_FREES_H_

#include <algorithm>
#include <array>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/memory/allocator/multi_process/page_table.h"
#include "hermes_shm/platform/private_pages.h"

namespace hshm::ipc::multi_process {

/** Bytes that a run of remote frees keeps from their owner, at most. */
inline constexpr uint64_t kRunBytes = 16 * 1024;
/** Of a class's blocks: one begins at so many units of 16 bytes if units * inverse_ <= greatest_,
 * modulo 2^32. Lemire, Kaser, Kurz: Faster remainder by direct computation (2019), section 3.2. */
struct BlockDivisor {
  uint32_t inverse_;
  uint32_t greatest_;  // inverse_ - 1
};

/** What remote frees must know of a size class. */
struct RunRule {
  BlockDivisor divisor_;
  uint8_t max_blocks_;  // of a run; 0: not even one, each block is pushed at once
  bool may_return_;     // to the thread that freed them, when it needs some
};

template <typename Config>
inline constexpr auto kRunRules = [] {
  std::array<RunRule, Config::kClassCount> rules{};
  for (uint32_t c = 0; c < Config::kClassCount; ++c) {
    const uint64_t bytes = ClassBytes(c);
    if (bytes > Config::kMaxNarrowBytes) continue;
    // The inverse of 1 wraps to 0, and all units are less than 2^32.
    const uint32_t greatest = ~uint32_t{0} / static_cast<uint32_t>(bytes / RunWord<Config>::kUnit);
    rules[c].divisor_ = {greatest + 1, greatest};
    rules[c].max_blocks_ =
        static_cast<uint8_t>(std::min({kRunBytes / bytes, uint64_t{RunWord<Config>::kMaxBlocks},
                                       RunBearer::MostOthers(bytes) + 1}));
    // As a mixed slot may list what another heap of the process owns, but not in Checked.
    rules[c].may_return_ = !Config::kChecked && c >= Config::kFirstMixedSlot;
  }
  return rules;
}();

/**
 * Remote frees of one heap that wait to be posted: for each of some pages a run of blocks, which
 * goes onto the page's remote list by one CAS. The words are in the heap's record. A block costs a
 * CAS of its own otherwise, and each waits until the block's cache line has come from its owner.
 * Of a run only the bearer's line is written, see RunBearer.
 *
 * A run is posted when its page has too many, when another page needs its place, when its heap is
 * flushed or its thread ends, and before this heap reports no room. If it is of a page of the same
 * process, the thread may take it back for its own allocations. Blocks of another process it may
 * not: they go when that process leaves, and their users would not know.
 *
 * Invariant  A block of a run is in no other list, and counted in its page's used_: the page stays
 *            its owner's. While a run is also named by a class slot, it has just been taken back.
 * Ordering   Each change releases what the bearer says of the block, for who posts the run before
 *            it deletes the page. All else is program order.
 * ABA        None: the words are written by one thread; a run of another process's page is taken
 *            out under the record's lock_, by its heap or by who deletes the page.
 * Crash      A block is in its run from the store of the word on, which counts it. A run is taken
 *            out before it is posted: a death in between loses that run. Taken back, it is linked
 *            to a list, and named by the class slot first, which whoever sweeps sees: nothing is
 *            lost, and linked or not it is a run as before.
 */
template <typename Config>
class HSHM_API PendingFrees {
  using Run = RunWord<Config>;
  using Record = HeapRecord<Config>;

 public:
  PendingFrees(const PageTable<Config>& pages, const LockIdentity& identity, uint32_t slot)
      : pages_(pages), identity_(identity), slot_(slot) {}
  PendingFrees(const PendingFrees&) = delete;
  PendingFrees& operator=(const PendingFrees&) = delete;
  /** Before any other call: where the runs are. */
  void Use(Record* record) noexcept {
    record_ = record;
    for (uint32_t i = 0; i < Config::kPendingRuns; ++i) at_[i + 1].word_ = &record->pending_[i];
  }
  /** Before that, of a region of so many pages. @return 0 or the errno */
  [[nodiscard]] int Reserve(uint32_t page_count) noexcept { return places_.Reserve(page_count); }

  /** A free of a block that does not lie in a page of this heap, when blocks of that page wait
   * already, and not too many; else false, and nothing happened. Stops with InvalidFree where no
   * block begins. */
  HSHM_INLINE bool TryExtend(Offset block) noexcept {
    const Place& at = at_[places_[block >> Config::kPageShift]];
    OwnedWord<uint64_t>* const word = at.word_;
    const uint64_t run = word->Get();
    const uint64_t others = run - at.first_;  // huge when it has been taken out
    if (others >= at.max_others_) return false;
    Return(at.divisor_, block);
    const uint16_t number = PageTable<Config>::NumberOf(block);
    // relaxed: private until published
    at.numbers_[others].store(number, std::memory_order_relaxed);
    word->SetRelease(run + 1);  // commit; pairs with PostNamed
    return true;
  }

  /** When TryExtend has said no: the first block of a run. False, and nothing happened, when its
   * kind does not wait. */
  bool Begin(Offset block) noexcept {
    const PageEntry* entry = pages_.EntryOf(block);
    const uint32_t shape = entry->shape_.Get();
    if (entry->owner_.Get() <= kSpanInterior || KindOf(shape) != kKindClass) return false;
    const uint32_t size_class = ClassOfShape(shape);
    const RunRule& rule = kRunRules<Config>[size_class];
    if (rule.max_blocks_ == 0) return false;
    // The rest of the page behind its last block has no room for what a bearer says.
    if (block % Config::kPageBytes + ClassBytes(size_class) > Config::kPageBytes) {
      defect::InvalidFree("Free", block);
    }
    Return(rule.divisor_, block);
    const uint32_t place = PlaceFor(PageTable<Config>::PageOf(block));
    last_place_[size_class] = static_cast<uint8_t>(place);
    BeginAt(&at_[place], rule, block);
    return true;
  }

  /** Blocks of the class that this thread freed last become its own class slot's list, which is
   * empty. @return how many */
  HSHM_INLINE uint32_t TakeBack(uint32_t size_class) noexcept {
    OwnedWord<uint64_t>& word = *at_[last_place_[size_class]].word_;
    const uint64_t run = word.Get();
    if (run == 0 || !kRunRules<Config>[size_class].may_return_) return 0;
    const PageEntry* entry = pages_.Entry(Run::Page(run));
    if (ClassOfShape(entry->shape_.Get()) != size_class || !IsOfThisProcess(word, run)) return 0;
    pages_.SetLink(pages_.LinkRun(Run::Bearer(run), Run::Count(run) - 1), 0);
    record_->free_[size_class].Set(Run::Bearer(run));
    word.Set(0);
    return Run::Count(run);
  }

  /** Lock held: posts all runs. */
  void PostAll() noexcept {
    for (OwnedWord<uint64_t>& word : record_->pending_) Post(&word);
  }

  /** Calls visit(page, run) for each run of a heap that may be at work meanwhile. */
  template <typename Visit>
  static void ForEach(const Record& record, Visit visit) noexcept {
    for (const OwnedWord<uint64_t>& word : record.pending_) {
      // pairs with TryExtend and Replace
      if (const uint64_t run = word.GetAcquire(); run != 0) visit(Run::Page(run), run);
    }
  }

  // ---- for whoever sweeps, root mutex held -----------------------------------------------------

  /** Acting for a heap that is dead: gives class slots and runs back to their pages. Of what the
   * repetition finds in both, the run is forgotten. */
  static void Settle(const PageTable<Config>& pages, Record* record) noexcept {
    for (OwnedWord<uint64_t>& word : record->pending_) {
      const uint64_t run = word.Get();
      if (run == 0) continue;
      const uint32_t shape = pages.Entry(Run::Page(run))->shape_.Get();
      if (record->free_[ClassOfShape(shape)].Get() == Run::Bearer(run)) word.Set(0);
    }
    for (uint32_t c = 0; c < Config::kSlotCount; ++c) {
      pages.CutList(c, &record->free_[c], record->id_.Get());
    }
    for (uint32_t c = 0; c < Config::kFirstMixedSlot; ++c) {
      pages.Settle(&record->free_[c]);
    }
    for (uint32_t c = Config::kFirstMixedSlot; c < Config::kSlotCount; ++c) {
      pages.PushMixed(&record->free_[c]);
    }
    for (OwnedWord<uint64_t>& word : record->pending_) {
      if (word.Get() != 0 && !pages.IsWhole(word.Get())) word.Set(0);
      Take(pages, &word);
    }
  }

  /** The heap's lock held: posts the runs of pages that is_deleted(page). */
  template <typename IsDeleted>
  static void PostNamed(const PageTable<Config>& pages, Record* record,
                        IsDeleted is_deleted) noexcept {
    for (OwnedWord<uint64_t>& word : record->pending_) {
      const uint64_t run = word.GetAcquire();  // pairs with TryExtend and Replace
      if (run != 0 && is_deleted(Run::Page(run))) Take(pages, &word);
    }
  }

 private:
  static_assert(Config::kPendingRuns < 256);  // a place is a byte

  /** A word of the record, and what is noted of the run that was begun there last. */
  struct Place {
    OwnedWord<uint64_t>* word_;
    uint64_t first_;             // the run as it began: the word less this are its other blocks
    Atomic<uint16_t>* numbers_;  // of the others, in the bearer
    uint64_t max_others_;
    BlockDivisor divisor_;
  };

  /** Where the page has a run, or gets one. It has its place until another page needs that; they
   * are given in turn, so that the run goes that was begun first. By a hash of the page, two pages
   * in use would often share a place and post runs of one block. A fork may cut between any two of
   * the stores: no page has another's place at any time. */
  uint32_t PlaceFor(uint32_t page) noexcept {
    if (const uint32_t place = places_[page]; place != 0) return place;
    turn_ = turn_ % Config::kPendingRuns + 1;
    places_[page_at_[turn_]] = 0;
    page_at_[turn_] = page;
    at_[turn_].max_others_ = 0;  // until its run has begun
    places_[page] = static_cast<uint8_t>(turn_);
    return turn_;
  }
  /** A run that the word had. Who deletes the page takes it out of the word before the page is
   * free, or this process's: then it is not there any more. */
  HSHM_INLINE bool IsOfThisProcess(const OwnedWord<uint64_t>& word, uint64_t run) const noexcept {
    // acquire: pairs with Retire and OpenSpan
    return SlotOf(pages_.Entry(Run::Page(run))->owner_.GetAcquire()) == slot_ && word.Get() == run;
  }
  /** Taken out first: between the two it is in this thread's hands. */
  static void Take(const PageTable<Config>& pages, OwnedWord<uint64_t>* word) noexcept {
    const uint64_t run = word->Get();
    if (run == 0) return;
    word->Set(0);
    pages.Push(run);
  }
  void Post(OwnedWord<uint64_t>* word) noexcept { Take(pages_, word); }

  /** Stops unless a block of the class may begin there. */
  HSHM_INLINE void Return(const BlockDivisor& divisor, Offset block) const noexcept {
    pages_.ReturnFromAfar(block);
    const uint32_t unit = PageTable<Config>::NumberOf(block);
    if (HSHM_UNLIKELY(block % Run::kUnit != 0 || unit * divisor.inverse_ > divisor.greatest_)) {
      defect::InvalidFree("Free", block);
    }
  }
  /** The place is empty, has a run that is long enough, or one of another page. */
  void BeginAt(Place* at, const RunRule& rule, Offset block) noexcept {
    const uint64_t run = at->word_->Get();
    if (run == 0 || IsOfThisProcess(*at->word_, run)) {
      // Only this process deletes its pages, and not while a thread of it is in a call.
      Replace(at, run, rule, block);
      return;
    }
    if (HSHM_UNLIKELY(!record_->lock_.TakeFree(identity_))) {
      pages_.Push(PageTable<Config>::PageOf(block), block);  // a free never waits
      return;
    }
    Replace(at, at->word_->Get(), rule, block);
    record_->lock_.Unlock(identity_);
  }
  /** One store takes the run out and puts the block in: a death after it loses the run alone. */
  void Replace(Place* at, uint64_t run, const RunRule& rule, Offset block) noexcept {
    HSHM_PREFETCH_TO_WRITE(*pages_.NumbersOf(block));  // its owner's cache has it; comes meanwhile
    at->first_ = Run::Make(block);
    at->numbers_ = pages_.NumbersOf(block);
    at->divisor_ = rule.divisor_;
    at->max_others_ = rule.max_blocks_ - 1u;
    at->word_->SetRelease(at->first_);  // commit; pairs with PostNamed
    if (run != 0) pages_.Push(run);
  }

  PageTable<Config> pages_;
  Record* record_ = nullptr;
  LockIdentity identity_;
  uint32_t slot_;                 // of this process
  uint32_t turn_ = 0;             // the place that was given last
  OwnedWord<uint64_t> no_run_{};  // the word of place 0
  PrivatePages<uint8_t> places_;  // by page: its place, if it has one
  std::array<Place, Config::kPendingRuns + 1> at_{{{&no_run_, 0, nullptr, 0, {}}}};  // 0: no page's
  std::array<uint32_t, Config::kPendingRuns + 1> page_at_{};
  std::array<uint8_t, Config::kClassCount> last_place_{};  // a hint: where a run of the class is
};

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PENDING_FREES_H_
