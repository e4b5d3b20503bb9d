/** ProcessBlock::Check: walks every word and list of a quiet region and says what is wrong. */
#include <algorithm>
#include <bitset>
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "hermes_shm/memory/allocator/multi_process/process_block.h"
#include "memory/allocator/multi_process/onlooker.h"

namespace hshm::ipc::multi_process {
namespace {

template <typename Config>
class Checker {
 public:
  /** Whom the region has beside the one who looks. */
  enum class Others {
    kQuiet,  // those that are alive do nothing meanwhile
    kAtWork,
    kDead,
  };

  /** Members are needed where others are quiet. Others at work may be in the middle of something,
   * as if dead. */
  Checker(const Region& region, const RootTier<Config>& root, Others others,
          Membership* members = nullptr)
      : region_(region), root_(root), pages_(root.pages()), others_(others), members_(members) {}

  /** What is wrong with the span, or the free page, that begins here; its length in pages. */
  uint32_t LookAt(uint32_t page) {
    findings_.clear();
    const uint32_t span = Head(page);
    const uint32_t end = std::min(page + span, root_.header().page_count_);
    for (uint32_t behind = page + 1; behind < end; ++behind) Interior(behind);
    return span;
  }
  bool HasFindings() const { return !findings_.empty(); }
  void Print() const {
    for (const Finding& finding : findings_) {
      std::fprintf(stderr, "hshm: Check: %s (page %u)\n", finding.what_, finding.page_);
    }
  }

  bool Run() {
    uint32_t expected = 0;  // pages up to here belong to the span seen last
    root_.ForEachHead([&](uint32_t granule, uint32_t word) {
      if (HeadWord::KindOf(word) != HeadWord::kUnit) return true;
      const uint32_t end = root_.FirstPageOf(granule + HeadWord::Granules(word));
      for (uint32_t page = root_.FirstPageOf(granule); page < end; ++page) {
        if (page < expected) {
          Interior(page);
        } else {
          expected = page + Head(page);
        }
      }
      return true;
    });
    FindDoubles();
    Print();
    return findings_.empty();
  }

 private:
  struct Finding {
    const char* what_;
    uint32_t page_;
  };
  using Word = RunWord<Config>;
  static constexpr uint32_t kMaxBlocks = Config::kPageBytes / 16;

  void Expect(bool condition, const char* what, uint32_t page) {
    if (!condition) findings_.push_back({what, page});
  }
  bool IsOnlooker() const { return others_ == Others::kAtWork; }
  bool IsDead(HeapId owner) const {
    return others_ != Others::kQuiet || !members_->IsAlive(SlotOf(owner));
  }

  void Interior(uint32_t page) {
    Expect(pages_.Entry(page)->owner_.Get() == kSpanInterior,
           "a page inside a span is somebody else's", page);
  }

  /** @return pages of what begins here */
  uint32_t Head(uint32_t page) {
    const PageEntry* entry = pages_.Entry(page);
    const HeapId owner = entry->owner_.Get();
    if (owner == kFreePage) {
      is_cut_ = IsOnlooker();
      Expect(entry->local_.Get() == 0, "a free page has a local list", page);
      Expect(entry->carved_.Get() == 0, "a free page has carved blocks", page);
      Expect(entry->used_.Get() == 0, "a free page has used blocks", page);
      Expect(entry->key_.Get() == 0, "a free page has a key", page);
      Expect(PageTable<Config>::Pending(entry) == 0, "a free page has remote frees", page);
      if (entry->committed_.Get() != 0 && !is_cut_) Marks(page, 1, false);
      return 1;
    }
    // The last step of a death may have marked the page behind a span, and a span may have been
    // opened since an onlooker saw its head free.
    is_cut_ = is_cut_ || IsOnlooker();
    Expect(owner != kSpanInterior || is_cut_, "a page is marked as interior of no span", page);
    is_cut_ = IsOnlooker() || (owner != kSpanInterior && IsDead(owner));
    if (owner == kSpanInterior) return 1;
    const uint32_t span = std::max(entry->span_.Get(), 1u);
    Expect(page + span <= root_.header().page_count_, "a span ends behind the region", page);
    const PageKind kind = KindOf(entry->shape_.Get());
    if (PageTable<Config>::HoldsRecords(entry)) {
      if (!IsOnlooker()) Records(page);  // they name pages that change on their own
    } else if (kind == kKindClass || kind == kKindRun) {
      is_cut_ ? BlocksOfDead(page, owner) : Blocks(page, owner);
      if (!is_cut_) Marks(page, span, true);
      if (!is_cut_) Keys(page, kind == kKindClass ? span : 1, owner);
    }
    return span;
  }

  void Keys(uint32_t page, uint32_t pages, HeapId owner) {
    const uint32_t shape = pages_.Entry(page)->shape_.Get();
    const uint64_t key = PageTable<Config>::KeyOf(shape, owner);
    // A run that is listed has none, nor has a page whose adopter died in the middle, where the
    // next process of its slot has not swept yet.
    const bool may_be_none = KindOf(shape) == kKindRun || (shape & kAdopted) != 0;
    for (uint32_t i = 0; i < pages; ++i) {
      const uint64_t found = pages_.Entry(page + i)->key_.Get();
      Expect(found == key || (may_be_none && found == 0), "a page has a wrong key", page + i);
    }
  }

  /** A listed block is nobody's, at any moment of any death. */
  bool IsMarkedLive(uint32_t page, uint32_t block) const {
    if (IsOnlooker()) return false;  // marks change on their own
    return pages_.IsMarkedLive(PageTable<Config>::OffsetOf(page) + block * pages_.BlockBytes(page));
  }

  /** Marked is where blocks begin, and live what somebody has. Quiet: nothing is half done. */
  void Marks(uint32_t page, uint32_t span, bool has_blocks) {
    if constexpr (!Config::kChecked) return;
    const Offset begin = PageTable<Config>::OffsetOf(page);
    const uint64_t bytes = pages_.BlockBytes(page);
    const uint32_t carved = pages_.Entry(page)->carved_.Get();
    const CarveOrder order = pages_.OrderOf(page);
    for (Offset at = begin; at < begin + span * Config::kPageBytes; at += 16) {
      if (pages_.EntryOf(at)->committed_.Get() == 0) continue;  // nor have its marks memory
      const bool is_place = has_blocks && (at - begin) % bytes == 0;
      const bool is_carved = is_place && order.IsAmong(carved, (at - begin) / bytes);
      Expect(is_place || !pages_.IsMarked(at), "no block begins where one is marked", page);
      Expect(is_carved || !pages_.IsMarkedLive(at), "a block is live that never was", page);
    }
  }

  /** Until it is swept, a chain may have two names and a count be off; all links are right. */
  void BlocksOfDead(uint32_t page, HeapId owner) {
    const PageEntry* entry = pages_.Entry(page);
    const uint32_t capacity = pages_.Capacity(page);
    const auto visit = [&](uint32_t block) { return !IsMarkedLive(page, block); };
    Expect(pages_.Walk(page, entry->local_.Get(), capacity + 1, visit) <= capacity,
           "the local list is broken", page);
    const uint32_t pending = PageTable<Config>::Pending(entry);
    Expect(pages_.WalkPosted(page, visit) == pending, "the remote list is broken", page);
    Expect(VisitListed(page, owner, visit), "the free list of a heap is broken", page);
  }

  void Blocks(uint32_t page, HeapId owner) {
    const PageEntry* entry = pages_.Entry(page);
    const uint32_t carved = entry->carved_.Get();
    Expect(carved <= pages_.Capacity(page), "more blocks are carved than fit", page);
    const CarveOrder order = pages_.OrderOf(page);
    seen_.reset();
    const auto visit = [&](uint32_t block) {
      if (!order.IsAmong(carved, block) || seen_[block] || IsMarkedLive(page, block)) return false;
      seen_[block] = true;
      return true;
    };
    const uint32_t limit = carved + 1;
    const uint32_t local = pages_.Walk(page, entry->local_.Get(), limit, visit);
    Expect(local <= carved, "the local list is broken", page);
    const uint32_t pending = PageTable<Config>::Pending(entry);
    Expect(pages_.WalkPosted(page, visit) == pending, "the remote list is broken", page);
    Expect(PageTable<Config>::Used(entry) + local == carved, "the count of used blocks is wrong",
           page);
    Expect(VisitListed(page, owner, visit), "the free list of a heap is broken", page);
  }

  /** Calls visit(block) for what class slots of the owner's process list of this page, until one is
   * false. @return whether all was well */
  template <typename Visit>
  bool VisitListed(uint32_t page, HeapId owner, Visit visit) {
    if (IsOnlooker()) return true;  // lists change on their own
    if (!are_found_ || SlotOf(records_of_) != SlotOf(owner)) FindListed(owner);
    const Offset begin = PageTable<Config>::OffsetOf(page);
    const uint64_t bytes = pages_.BlockBytes(page);
    const Offset end =
        begin + uint64_t{std::max(pages_.Entry(page)->span_.Get(), 1u)} * Config::kPageBytes;
    auto at = std::lower_bound(listed_.begin(), listed_.end(), begin);
    for (; at != listed_.end() && *at < end; ++at) {
      if (!visit(static_cast<uint32_t>((*at - begin) / bytes))) return false;
    }
    return true;
  }

  /** What all class slots of the process of a heap list, in order. */
  void FindListed(HeapId id) {
    are_found_ = true;
    records_of_ = id;
    listed_.clear();
    root_.ForEachSpan([&](uint32_t page, uint32_t) {
      const PageEntry* entry = pages_.Entry(page);
      if (SlotOf(entry->owner_.Get()) != SlotOf(id)) return;
      if (!PageTable<Config>::HoldsRecords(entry)) return;
      auto* records = RecordsIn(page);
      for (uint32_t i = 0; i < kPerPage; ++i) {
        if (records[i].id_.Get() == 0) continue;
        for (uint32_t c = 0; c < Config::kSlotCount; ++c) {
          pages_.WalkSlot(c, records[i].free_[c].Get(),
                          [&](uint32_t, Offset block) { listed_.push_back(block); });
        }
      }
    });
    std::sort(listed_.begin(), listed_.end());
  }

  void Records(uint32_t page) {
    HeapRecord<Config>* records = RecordsIn(page);
    for (uint32_t i = 0; i < kPerPage; ++i) {
      if (records[i].id_.Get() == 0) continue;
      for (uint32_t c = 0; c < Config::kSlotCount; ++c) {
        const uint32_t length =
            pages_.WalkSlot(c, records[i].free_[c].Get(), [&](uint32_t head, Offset block) {
              const HeapId owner = pages_.Entry(head)->owner_.Get();
              Expect(SlotOf(owner) == SlotOf(records[i].id_.Get()),
                     "a heap lists blocks of another process's page", page);
              if (!is_cut_) waiting_.push_back(block);
            });
        Expect(length != PageTable<Config>::kBroken, "a heap's free list is broken", page);
      }
      PendingFrees<Config>::ForEach(records[i], [&](uint32_t head, uint64_t run) {
        const bool is_inside = region_.Contains(Word::Bearer(run));
        Expect(is_inside, "a run of remote frees leaves the region", page);
        if (is_inside && !is_cut_) Run(head, run);
      });
    }
  }

  /** A run of blocks of a page: none of them is in the page's lists. */
  void Run(uint32_t page, uint64_t run) {
    const PageEntry* entry = pages_.Entry(page);
    const uint32_t carved = entry->carved_.Get();
    const CarveOrder order = pages_.OrderOf(page);
    seen_.reset();
    const auto visit = [&](uint32_t block) {
      if (!order.IsAmong(carved, block) || seen_[block] || IsMarkedLive(page, block)) return false;
      seen_[block] = true;
      return true;
    };
    pages_.Walk(page, entry->local_.Get(), carved + 1, visit);
    pages_.WalkPosted(page, visit);
    const uint32_t blocks = Word::Count(run);
    const auto visit_waiting = [&](uint32_t block) {
      waiting_.push_back(PageTable<Config>::OffsetOf(page) + block * pages_.BlockBytes(page));
      return visit(block);
    };
    Expect(KindOf(entry->shape_.Get()) == kKindClass &&
               pages_.WalkRun(page, Word::Bearer(run), blocks, visit_waiting) == blocks,
           "a run of remote frees is broken", page);
  }

  /** A block waits in one place: heaps of the living, quiet, have it in a slot or in a run. */
  void FindDoubles() {
    std::sort(waiting_.begin(), waiting_.end());
    for (size_t i = 1; i < waiting_.size(); ++i) {
      Expect(waiting_[i] != waiting_[i - 1], "two lists of heaps have the same block",
             PageTable<Config>::PageOf(waiting_[i]));
    }
  }

  static constexpr uint32_t kPerPage = Config::kPageBytes / sizeof(HeapRecord<Config>);
  HeapRecord<Config>* RecordsIn(uint32_t page) const {
    return region_.At<HeapRecord<Config>>(PageTable<Config>::OffsetOf(page));
  }

  const Region& region_;
  const RootTier<Config>& root_;
  const PageTable<Config>& pages_;
  Others others_;
  Membership* members_;
  bool is_cut_ = false;  // the owner of the span seen last is dead
  std::vector<Finding> findings_;
  std::bitset<kMaxBlocks> seen_;
  std::vector<Offset> waiting_;  // in class slots and runs of heaps that nothing cuts
  std::vector<Offset> listed_;   // of the process of records_of_
  HeapId records_of_ = 0;
  bool are_found_ = false;
};

/** How often a span that keeps changing is looked at. */
constexpr int kMostLooks = 20;
/** Pages of which a copy is kept, before its memory is let go. */
constexpr uint32_t kMostKept = 256;

/** What CheckChanging does for one unit. */
template <typename Config>
class Onlooker {
 public:
  Onlooker(const Region& region, const RootTier<Config>& root, RegionCopy* copy)
      : region_(region),
        root_(root),
        copy_(copy),
        checker_(region, root, Checker<Config>::Others::kAtWork) {}

  void Unit(uint32_t granule, uint32_t granules) {
    const uint32_t end =
        std::min(root_.FirstPageOf(granule + granules), root_.header().page_count_);
    uint32_t kept = root_.FirstPageOf(granule);  // from here on there may be a copy
    for (uint32_t page = kept; page < end;) {
      page += Span(granule, page, end);
      if (page < end && page - kept < kMostKept) continue;
      const Offset begin = PageTable<Config>::OffsetOf(kept);
      copy_->Forget(begin, PageTable<Config>::OffsetOf(page) - begin);
      kept = page;
    }
  }
  const CopyVerdict& verdict() const { return verdict_; }

 private:
  uint32_t Span(uint32_t granule, uint32_t page, uint32_t end) {
    ++verdict_.spans_;
    for (int look = 0; look < kMostLooks; ++look) {
      const uint32_t span = std::clamp(checker_.LookAt(page), 1u, end - page);
      if (!checker_.HasFindings()) return span;
      if (!IsUnchanged(granule, page, span)) continue;
      checker_.Print();
      verdict_.is_good_ = false;
      return span;
    }
    ++verdict_.unsettled_;
    return 1;
  }

  /** All that a look at the span depends on. Each is read again, so that the next look is new. */
  bool IsUnchanged(uint32_t granule, uint32_t page, uint32_t span) {
    const Offset head = root_.header().heads_offset_ + granule * sizeof(uint32_t);
    bool is_unchanged = copy_->ReadAgain(head, sizeof(uint32_t));
    const Offset entries = region_.OffsetOf(root_.pages().Entry(page));
    is_unchanged = copy_->ReadAgain(entries, span * sizeof(PageEntry)) && is_unchanged;
    return copy_->ReadAgain(PageTable<Config>::OffsetOf(page), span * Config::kPageBytes) &&
           is_unchanged;
  }

  const Region& region_;
  const RootTier<Config>& root_;
  RegionCopy* copy_;
  Checker<Config> checker_;
  CopyVerdict verdict_;
};

}  // namespace

template <typename Config>
CopyVerdict CheckChanging(const Region& region, Offset core, RegionCopy* copy) {
  const RootTier<Config> root(region, core, nullptr);
  Onlooker<Config> onlooker(region, root, copy);
  root.ForEachHead([&](uint32_t granule, uint32_t word) {
    if (HeadWord::KindOf(word) == HeadWord::kUnit) {
      onlooker.Unit(granule, HeadWord::Granules(word));
    }
    return true;
  });
  return onlooker.verdict();
}

template <typename Config>
bool CheckDead(const Region& copy, Offset core) {
  const RootTier<Config> root(copy, core, nullptr);
  return Checker<Config>(copy, root, Checker<Config>::Others::kDead).Run();
}

template bool CheckDead<LargePages>(const Region&, Offset);
template bool CheckDead<SmallPages>(const Region&, Offset);
template bool CheckDead<CheckedLargePages>(const Region&, Offset);
template bool CheckDead<CheckedSmallPages>(const Region&, Offset);

template CopyVerdict CheckChanging<LargePages>(const Region&, Offset, RegionCopy*);
template CopyVerdict CheckChanging<SmallPages>(const Region&, Offset, RegionCopy*);
template CopyVerdict CheckChanging<CheckedLargePages>(const Region&, Offset, RegionCopy*);
template CopyVerdict CheckChanging<CheckedSmallPages>(const Region&, Offset, RegionCopy*);

template <typename Config>
bool ProcessBlock<Config>::Check() noexcept {
  const std::lock_guard hold(lock_);
  typename RootTier<Config>::Guard root(root_);
  if (!root.IsHeld()) return false;
  if (!root_.CheckLists()) {
    std::fprintf(stderr, "hshm: Check: the root's free lists are broken\n");
    return false;  // nothing below could be trusted
  }
  bool is_good = true;
  uint64_t labelled = 0;
  root_.ForEachHead([&](uint32_t, uint32_t word) {
    labelled += HeadWord::Granules(word);
    return true;
  });
  const RootHeader& header = root_.header();
  const uint64_t all = header.granule_end_ - header.first_granule_;
  if (labelled + root_.FreeGranules() != all) {
    is_good = false;
    std::fprintf(stderr,
                 "hshm: Check: %" PRIu64 " granules are labelled and %" PRIu64 " free, of %" PRIu64
                 "\n",
                 labelled, root_.FreeGranules(), all);
  }
  if (!Engine().Check()) {
    is_good = false;
    std::fprintf(stderr, "hshm: Check: the process's free lists are broken\n");
  }
  using Others = typename Checker<Config>::Others;
  return Checker<Config>(region_, root_, Others::kQuiet, membership_).Run() && is_good;
}

template class ProcessBlock<LargePages>;
template class ProcessBlock<SmallPages>;
template class ProcessBlock<CheckedLargePages>;
template class ProcessBlock<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
