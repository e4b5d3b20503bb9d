#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_ROOT_TIER_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_ROOT_TIER_H_

#include "hermes_shm/memory/allocator/multi_process/layout.h"
#include "hermes_shm/memory/allocator/multi_process/page_table.h"
#include "hermes_shm/memory/allocator/multi_process/unit_placement.h"
#include "hermes_shm/memory/backend/membership.h"
#include "hermes_shm/sync/patience.h"

namespace hshm::ipc::multi_process {

/**
 * The root tier as one process sees it: units and large blocks, under the root mutex.
 * Protocol: docs/protocols.md, D.
 *
 * Invariant  A unit is used by the process in its head word and by nobody else; head words change
 *            under the root mutex only, but that who frees a large block and cannot get it says so
 *            there, by CAS: whoever has the mutex next gives it back. A granule with head word 0
 *            that no unit covers is free, and the entries of all its pages are empty.
 * Ordering   The mutex; for the dead, the query of Membership::IsAlive.
 * ABA        Head words need no generation: a slot's next process sweeps its own label first.
 * Crash      The lists are caches: Lock rebuilds them when it is told that a holder died. A grant
 *            before its head word: nothing. After it: swept as an empty unit. A large block that
 *            was not returned yet is the one block that its thread may lose. What a large block
 *            grows by has a word of its own until its memory is there: swept, given back.
 */
template <typename Config>
class HSHM_API RootTier {
 public:
  static constexpr uint32_t kNone = BuddyEngine::kNone;

  RootTier() = default;
  /** What this process is granted should lie on `node`, or anywhere (kAnyNode). */
  RootTier(const Region& region, Offset header_offset, Membership* membership,
           uint32_t node = kAnyNode);

  /** Lays the tier out over [header_offset, end of region), nothing of it in use, and makes its
   * memory usable. @throws Error kOutOfRange when no page is left, kNoSpace */
  static void Init(const Region& region, Offset header_offset);

  /** Whether the tier's header says of itself what a region of this size has; else it was written
   * over, and nothing behind it can be trusted. */
  static bool FitsRegion(const Region& region, Offset header_offset);

  struct Newcomer {};

  /** Holds the root mutex for a scope. Its lists are right when IsHeld(). */
  class Guard {
   public:
    explicit Guard(RootTier& root) : Guard(root, Newcomer()) {
      // relaxed: a hint, who sees it later gives back later
      if (IsHeld() && root.header_->freed_.load(std::memory_order_relaxed) != 0) {
        root.GiveBackFreed();
      }
    }
    /** For who attaches, and has to look at the words and lists first. */
    Guard(RootTier& root, Newcomer);
    bool IsHeld() const { return guard_.IsHeld(); }

   private:
    MutexGuard guard_;
  };

  const RootHeader& header() const { return *header_; }
  RootHeader& header() { return *header_; }
  const PageTable<Config>& pages() const { return pages_; }
  uint32_t granule_pages() const { return 1u << header_->granule_pages_log2_; }
  uint64_t granule_bytes() const { return granule_pages() * Config::kPageBytes; }
  uint32_t GranuleOf(uint32_t page) const { return page >> header_->granule_pages_log2_; }
  uint32_t FirstPageOf(uint32_t granule) const { return granule << header_->granule_pages_log2_; }
  uint32_t Head(uint32_t granule) const { return heads_[granule].Get(); }

  // ---- root mutex held -----------------------------------------------------------------------

  /** Takes a run of granules, labels it, and asks for it on this process's node. kNone when there
   * is none, or no memory for its part of the page table. */
  uint32_t Grant(HeadWord::Kind kind, uint32_t granules, uint32_t alignment = 1);

  /** Changes the label of a unit or large block; not of one that is freed meanwhile. */
  void Relabel(uint32_t granule, HeadWord::Kind kind, uint32_t slot_plus_one) {
    const uint32_t word = Head(granule);
    if (HeadWord::IsFreed(word)) return;
    static_cast<void>(heads_[granule].CasFrom(word, Labelled(word, kind, slot_plus_one)));
  }
  /** Without the mutex, which is not to be had: of a large block, or an extension, that is the
   * caller's. Whoever has the mutex next gives it back. False when somebody has done so before. */
  bool LeaveFreed(uint32_t granule);

  /** Gives a unit, large block or extension back, and its memory to the system, which places what
   * comes next there as it likes. All its pages must be free. */
  void GiveBack(uint32_t granule);

  /** All that was left freed: done by Guard when some was counted. Who died between the two words
   * of LeaveFreed did not count it. */
  void GiveBackFreed();

  /** Takes the granules directly behind a large block for it. They are this process's until their
   * memory is there and they are joined, or given back. False when they are in use, or there is no
   * memory for their part of the page table. */
  bool GrantExtension(uint32_t granule, uint32_t more);
  /** The large block becomes as long as it is with its extension, all of whose memory is there. */
  void JoinExtension(uint32_t granule);
  /** The memory of the granules that go is given back. */
  void ShortenLarge(uint32_t granule, uint32_t granules);

  /** True when a process unit covers the page; only then its entry has memory for sure. */
  bool IsInUnit(uint32_t page) const { return KindAround(page) == HeadWord::kUnit; }
  bool IsInLargeBlock(uint32_t page) const { return KindAround(page) == HeadWord::kLarge; }

  /** True when every page of the run has an empty owner word. */
  bool AllPagesFree(uint32_t granule, uint32_t granules) const;

  /** Granules in the largest free run's block; what a Grant of that size would find at once. */
  uint32_t LargestFree() { return Engine().LargestFree(); }
  /** What became of this process's wishes so far. */
  const UnitPlacement& placement() const { return placement_; }
  uint64_t FreeGranules() const { return Engine().free_granules(); }
  bool CheckLists() { return Engine().Check(); }
  /** For the root mutex and the heaps' locks. */
  Patience& patience() { return patience_; }

  /** Calls visit(granule, head word) for each unit and large block, until it says false. */
  template <typename Visit>
  void ForEachHead(Visit visit) const {
    for (uint32_t granule = header_->first_granule_; granule < header_->granule_end_;) {
      const uint32_t word = Head(granule);
      // An overwritten word leads nobody out of the region.
      const bool ends_inside = HeadWord::Granules(word) <= header_->granule_end_ - granule;
      if (!ends_inside || !HeadWord::NamesSlot(word)) StopForHead(granule);
      if (word != 0 && !visit(granule, word)) return;
      granule += word == 0 ? 1 : HeadWord::Granules(word);
    }
  }

  /** Root mutex held: whether the head words end where the region does and name slots that there
   * can be; else ForEachHead stops. */
  bool HeadsFit() const noexcept {
    uint64_t granule = header_->first_granule_;
    while (granule < header_->granule_end_) {
      const uint32_t word = Head(static_cast<uint32_t>(granule));
      if (!HeadWord::NamesSlot(word)) return false;
      granule += HeadWord::Granules(word);
    }
    return granule == header_->granule_end_;
  }

  /** Ends the process for a head word that no sequence of correct calls can have written. */
  [[noreturn]] void StopForHead(uint32_t granule) const;

  /** The head words fit: whether no word stands inside of what another covers. */
  bool HeadsAreApart() const;
  /** Root mutex held, the head words fit: whether the lists are whole and name all that is free. */
  bool ListsFit() const;
  /** Root mutex held, by who finds that the lists are not right: makes them anew. */
  void Rebuild();

  /** Calls visit(page, end of its unit) for the head of every span that somebody owns. */
  template <typename Visit>
  void ForEachSpan(Visit visit) const {
    ForEachHead([&](uint32_t granule, uint32_t word) {
      if (HeadWord::KindOf(word) != HeadWord::kUnit) return true;
      const uint32_t end = FirstPageOf(granule + HeadWord::Granules(word));
      for (uint32_t page = FirstPageOf(granule); page < end;) {
        const PageEntry* entry = pages_.Entry(page);
        uint32_t span = 1;
        if (entry->owner_.GetAcquire() > kSpanInterior) {
          span = entry->span_.Get() > 1 ? entry->span_.Get() : 1;
          visit(page, end);
        }
        page += span;
      }
      return true;
    });
  }

  /** Makes the memory of pages that somebody is about to open usable, and notes so. False when the
   * system has none. */
  bool CommitPages(uint32_t first, uint32_t pages) const;
  /** The same for pages of a large block, which nobody opens. @param is_zero whether all of it
   * reads as zero */
  bool CommitLarge(uint32_t first, uint32_t pages, bool* is_zero) const;

 private:
  BuddyEngine Engine() const {
    return BuddyEngine(nodes_, &header_->lists_, header_->first_granule_,
                       header_->granule_end_ - header_->first_granule_, 0, kBuddyMaxOrder);
  }
  /** Of the unit or large block that covers the page. */
  HeadWord::Kind KindAround(uint32_t page) const;
  /** Stops with Corruption when a unit or large block begins in granules that the lists gave. */
  void RequireNoHead(uint32_t granule, uint32_t granules) const;
  [[noreturn]] void StopForLists(uint32_t granule) const;
  bool HasNoHeadInside(uint32_t granule, uint32_t granules) const;
  static constexpr uint32_t Labelled(uint32_t word, HeadWord::Kind kind, uint32_t slot_plus_one) {
    return HeadWord::Make(kind, slot_plus_one, HeadWord::Granules(word)) |
           (word & HeadWord::kPlaced);
  }
  void ClearJoined(uint32_t granule, uint32_t end);
  bool Label(HeadWord::Kind kind, uint32_t first, uint32_t granules);
  uint64_t PushesIn(uint32_t granule, uint32_t granules) const;
  void CountGranted(HeadWord::Kind kind, uint32_t first, uint32_t granules);
  void CountReturned(uint32_t first, uint32_t granules);
  void DecommitPages(uint32_t first, uint32_t end);
  bool CommitTable(uint32_t granule, uint32_t granules) const;
  bool CommitAs(uint32_t first, uint32_t pages, Committed mark) const;
  void Place(uint32_t granule, uint32_t granules);
  void Unplace(uint32_t granule, uint32_t granules);

  Region region_;
  RootHeader* header_ = nullptr;
  OwnedWord<uint32_t>* heads_ = nullptr;
  BuddyNode* nodes_ = nullptr;
  PageTable<Config> pages_;
  Membership* membership_ = nullptr;
  UnitPlacement placement_;
  Patience patience_;
};

extern template class RootTier<LargePages>;
extern template class RootTier<SmallPages>;
extern template class RootTier<CheckedLargePages>;
extern template class RootTier<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_ROOT_TIER_H_
