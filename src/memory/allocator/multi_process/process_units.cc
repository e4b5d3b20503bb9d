/** The units of a process, its free pages, and the thread units that it hands to its heaps. */
#include <algorithm>

#include "hermes_shm/memory/allocator/multi_process/process_block.h"
#include "hermes_shm/memory/allocator/multi_process/sweeper.h"
#include "hermes_shm/memory/allocator/multi_process/taker.h"

namespace hshm::ipc::multi_process {

// ---- what heaps call -------------------------------------------------------------------------

template <typename Config>
uint32_t ProcessBlock<Config>::HintFor(Heap* heap, uint32_t pages, uint32_t alignment,
                                       bool from_root, bool* gave_unit) noexcept {
  const std::lock_guard hold(lock_);
  *gave_unit = false;
  PollLost(heap, false);
  for (;;) {
    const bool fits_unit = pages * 2 <= thread_unit_pages() && alignment <= thread_unit_pages();
    if (fits_unit && GiveThreadUnit(heap)) {
      *gave_unit = true;
      return kNoPage;
    }
    const uint32_t hint = AllocateHint(heap->index() + 1, pages, alignment);
    if (hint != kNoPage) return hint;
    // An aligned run may need as much again in front of it.
    const uint64_t needed = uint64_t{pages} + (alignment > 1 ? alignment - 1 : 0);
    if (!from_root || needed > root_.header().page_count_) return kNoPage;
    // All of a new unit is listed, so that there is a hint in it.
    if (!NewUnit(static_cast<uint32_t>(needed))) return kNoPage;
  }
}

template <typename Config>
bool ProcessBlock<Config>::GiveThreadUnit(Heap* heap) noexcept {
  const uint32_t unit_pages = thread_unit_pages();
  const uint32_t first = AllocateHint(heap->index() + 1, unit_pages, unit_pages);
  if (first == kNoPage) return false;
  SetHome(first, heap->index() + 1);
  heap->Engine().Free(first, unit_pages);
  return true;
}

/** Of which the heap has found that all is on its free pages, and nobody else uses them. */
template <typename Config>
void ProcessBlock<Config>::ReturnThreadUnit(Heap* heap, uint32_t page) noexcept {
  const uint32_t unit_pages = thread_unit_pages();
  const uint32_t first = page / unit_pages * unit_pages;
  const std::lock_guard hold(lock_);
  const bool is_listed = heap->Engine().TakeRange(first, unit_pages);
  HSHM_CHECK(is_listed);
  SetHome(first, 0);
  ReturnListed(heap->index() + 1, first, unit_pages);
  GiveBackWholeUnits(1);
}

template <typename Config>
void ProcessBlock<Config>::TakeUnitsOf(Heap* heap) noexcept {
  const std::lock_guard hold(lock_);
  Dissolve(heap);
  GiveBackWholeUnits(1);
}

/** lock_ held; nobody else uses the heap's free pages meanwhile. */
template <typename Config>
void ProcessBlock<Config>::Dissolve(Heap* heap) noexcept {
  const uint64_t units = homes_.size();
  for (uint64_t unit = 0; unit < units; ++unit) {
    const auto first = static_cast<uint32_t>(unit << thread_unit_log2_);
    if (unit_of_[root_.GranuleOf(std::min(first, root_.header().page_count_ - 1))] != 0 &&
        HomeOf(first) == heap->index() + 1) {
      DissolveUnit(heap, first);
    }
  }
}

/** The pages that the heap uses stay in its hand; all others are listed, or somebody else's. The
 * way to its head a page has from its former span, until who opens it as the interior of one says
 * so. */
template <typename Config>
void ProcessBlock<Config>::DissolveUnit(Heap* heap, uint32_t first) noexcept {
  SetHome(first, 0);
  BuddyEngine engine = heap->Engine();
  const uint32_t end = std::min(first + thread_unit_pages(), root_.header().page_count_);
  for (uint32_t page = first; page < end; ++page) {
    // False when it is none of the heap's free pages.
    static_cast<void>(engine.TakeRange(page, 1));
    const uint32_t head = pages().HeadOf(page);
    const PageEntry* entry = pages().Entry(head);
    const bool is_used =
        entry->owner_.GetAcquire() == heap->id() && page < head + std::max(entry->span_.Get(), 1u);
    if (!is_used) ReturnListed(heap->index() + 1, page, 1);
  }
}

template <typename Config>
void ProcessBlock<Config>::ReturnPages(const Heap* heap, uint32_t first, uint32_t pages) noexcept {
  const uint32_t holder = heap->index() + 1;
  const std::lock_guard hold(lock_);
  for (uint32_t page = first; page < first + pages; ++page) {
    if (!IsOurs(page)) continue;  // the unit's process finds it by its owner word
    const uint32_t home = HomeOf(page);
    if (home == 0) {
      ReturnListed(holder, page, 1);
    } else if (home == holder) {
      NoteLost(page);  // the heap polls it
    } else if (holders_[page] == holder) {
      holders_[page] = static_cast<uint16_t>(home);  // for that heap a hint, or a lost page
    }
  }
  GiveBackWholeUnits(1);
}

/** Pages at home with the process that a heap has in hand. What another one has is left to it. */
template <typename Config>
void ProcessBlock<Config>::ReturnListed(uint32_t holder, uint32_t first, uint32_t pages) noexcept {
  for (uint32_t page = first; page < first + pages; ++page) {
    if (holders_[page] == holder) ListOrLose(page, 1);
  }
}

/** Pages that a heap still counted as its own when somebody had taken them long ago. */
template <typename Config>
void ProcessBlock<Config>::DropFromHand(uint32_t holder, uint32_t first, uint32_t pages) noexcept {
  for (uint32_t page = first; page < first + pages; ++page) {
    if (IsOurs(page) && HomeOf(page) == 0) ReturnListed(holder, page, 1);
  }
}

/** Pages in hand become listed when their owner word is 0, else lost. */
template <typename Config>
void ProcessBlock<Config>::ListOrLose(uint32_t first, uint32_t pages) noexcept {
  for (uint32_t page = first; page < first + pages; ++page) {
    holders_[page] = 0;
    ForgetLost(page);
    if (this->pages().Entry(page)->owner_.GetAcquire() == kFreePage) {
      AddFree(page, 1);
    } else {
      NoteLost(page);
    }
  }
}

/** Of a page that one of our heaps owns: that heap, else the records. */
template <typename Config>
uint32_t ProcessBlock<Config>::HolderOf(HeapId owner) const noexcept {
  for (uint32_t i = 0; i < heap_count_; ++i) {
    if (heaps_[i]->id() == owner) return i + 1;
  }
  return kRecordsHolder;
}

/** The heap has opened these pages, or got them from the dead: it is their holder now. */
template <typename Config>
void ProcessBlock<Config>::Claim(uint32_t holder, uint32_t first, uint32_t pages) noexcept {
  for (uint32_t page = first; page < first + pages; ++page) {
    if (!IsOurs(page)) continue;
    if (HomeOf(page) == 0) {
      ForgetLost(page);
      if (Engine().TakeRange(page, 1)) CountFree(page, 1, -1);
    }
    holders_[page] = static_cast<uint16_t>(holder);
  }
}

template <typename Config>
bool ProcessBlock<Config>::TakeFreePages(const Heap* heap, uint32_t first,
                                         uint32_t pages) noexcept {
  const std::lock_guard hold(lock_);
  if (!Engine().TakeRange(first, pages)) return false;
  CountFree(first, pages, -1);
  std::fill_n(&holders_[first], pages, static_cast<uint16_t>(heap->index() + 1));
  return true;
}

template <typename Config>
uint32_t ProcessBlock<Config>::TakeFor(Heap* heap, uint32_t pages, uint32_t alignment) noexcept {
  const std::lock_guard hold(lock_);
  typename RootTier<Config>::Guard root(root_);
  if (!root.IsHeld()) return kNoPage;
  return Taker<Config>(this, heap).Take(pages, alignment);
}

template <typename Config>
void ProcessBlock<Config>::Scavenge(Heap* heap) noexcept {
  FlushIdleHeaps();
  const std::lock_guard hold(lock_);
  PollLost(heap, true);
  {
    typename RootTier<Config>::Guard root(root_);
    if (!root.IsHeld()) return;
    Sweeper<Config>(this, heap).Run(Sweeper<Config>::kOthersOnly);
  }
  GiveBackWholeUnits(0);
  Atomic<uint32_t>& pressure = root_.header().pressure_;
  heap->seen_pressure_ = pressure.fetch_add(1, std::memory_order_relaxed) + 1;  // relaxed: a hint
}

/** Acts as the thread of each idle heap, one after the other. lock_ not held. */
template <typename Config>
void ProcessBlock<Config>::FlushIdleHeaps() noexcept {
  ForEachIdleHeap([](Heap* heap) { heap->Flush(); });
}

/** The same, of all before any is flushed: gives back what they have of each other. */
template <typename Config>
void ProcessBlock<Config>::SettleIdleHeaps() noexcept {
  ForEachIdleHeap([](Heap* heap) {
    heap->SettleAll();
    heap->PostPending();
  });
}

template <typename Config>
template <typename Visit>
void ProcessBlock<Config>::ForEachIdleHeap(Visit visit) noexcept {
  for (uint32_t i = 0; i < kMaxThreads; ++i) {
    {
      const std::lock_guard hold(lock_);
      if (i >= heap_count_) return;
      if (!idle_[i] || heaps_[i]->record_ == nullptr) continue;
      idle_[i] = false;
    }
    visit(heaps_[i].get());
    MakeIdle(heaps_[i].get());
  }
}

template <typename Config>
void ProcessBlock<Config>::FreeRemote(Offset block) noexcept {
  const RootHeader& header = root_.header();
  const uint32_t page = PageTable<Config>::PageOf(block);
  if (block >= PageTable<Config>::OffsetOf(header.page_count_) || page < header.first_page_) {
    defect::ForeignPointer("Free", block, region_.size_bytes_);
  }
  if (pages().Entry(page)->owner_.Get() == kFreePage) {
    FreeLarge(block);
    return;
  }
  const uint32_t head = pages().HeadOf(page);
  pages().ReturnFromAfar(block);
  const PageKind kind = KindOf(pages().Entry(head)->shape_.Get());
  const uint64_t bytes = pages().BlockBytes(head);
  // A run that its heap lists as free has no key.
  const bool is_block =
      kind == kKindClass || (kind == kKindRun && pages().Entry(head)->key_.Get() != 0);
  if (!is_block || (block - PageTable<Config>::OffsetOf(head)) % bytes != 0) {
    defect::InvalidFree("Free", block);
  }
  pages().Push(head, block);
}

// ---- free pages, lock_ held ------------------------------------------------------------------

template <typename Config>
uint32_t ProcessBlock<Config>::AllocateHint(uint32_t holder, uint32_t pages,
                                            uint32_t alignment) noexcept {
  const uint32_t first = Engine().Allocate(pages, alignment);
  if (first == BuddyEngine::kNone) return kNoPage;
  CountFree(first, pages, -1);
  std::fill_n(&holders_[first], pages, static_cast<uint16_t>(holder));
  return first;
}

template <typename Config>
void ProcessBlock<Config>::AddFree(uint32_t first, uint32_t pages) noexcept {
  Engine().Free(first, pages);
  CountFree(first, pages, 1);
}

template <typename Config>
void ProcessBlock<Config>::CountFree(uint32_t first, uint32_t pages, int64_t sign) noexcept {
  for (uint32_t page = first; page < first + pages;) {
    HSHM_CHECK(IsOurs(page));
    const uint32_t granule = unit_of_[root_.GranuleOf(page)] - 1;
    Unit& unit = units_[granule];
    const uint32_t unit_end = root_.FirstPageOf(granule + unit.granules_);
    const uint32_t part = std::min(unit_end, first + pages) - page;
    const uint32_t unit_pages = unit.granules_ * root_.granule_pages();
    if (unit.free_pages_ == unit_pages) --whole_units_;
    unit.free_pages_ += static_cast<uint32_t>(sign * int64_t{part});
    if (unit.free_pages_ == unit_pages) ++whole_units_;
    page += part;
  }
}

template <typename Config>
void ProcessBlock<Config>::NoteLost(uint32_t page) noexcept {
  if (lost_notes_[page].list_ == 0) lost_.PushFront(lost_notes_.data(), page, 1);
}

template <typename Config>
void ProcessBlock<Config>::ForgetLost(uint32_t page) noexcept {
  if (lost_notes_[page].list_ != 0) lost_.Remove(lost_notes_.data(), page);
}

/** Pages of ours that somebody else had opened and that are free again. */
template <typename Config>
void ProcessBlock<Config>::PollLost(Heap* heap, bool all) noexcept {
  if (lost_.IsEmpty()) return;
  if (!all && ++hints_since_poll_ * 8 < lost_.size()) return;
  hints_since_poll_ = 0;
  lost_.ForEach(lost_notes_.data(), [&](uint32_t page) {
    const uint32_t home = HomeOf(page);
    if (pages().Entry(page)->owner_.GetAcquire() != kFreePage) return;
    if (home == 0) {
      ForgetLost(page);
      if (holders_[page] == 0 && !Engine().IsFree(page)) AddFree(page, 1);
    } else if (heap != nullptr && home == heap->index() + 1) {
      ForgetLost(page);
      if (!heap->Engine().IsFree(page)) heap->Engine().Free(page, 1);
    }
  });
}

template <typename Config>
void ProcessBlock<Config>::SetHome(uint32_t page, uint32_t home) noexcept {
  homes_[page >> thread_unit_log2_].store(
      home, std::memory_order_relaxed);  // relaxed: lock_ is held, see HomeOf
}

// ---- units, lock_ held -----------------------------------------------------------------------

template <typename Config>
bool ProcessBlock<Config>::NewUnit(uint32_t pages) noexcept {
  typename RootTier<Config>::Guard root(root_);
  return root.IsHeld() && NewUnitFromRoot(pages);
}

/** Asks for the next unit size first, then for less, down to what is needed. No more than the
 * region has, so that a head word can say it. */
template <typename Config>
bool ProcessBlock<Config>::NewUnitFromRoot(uint32_t pages) noexcept {
  const uint32_t granule_pages = root_.granule_pages();
  const auto needed = static_cast<uint32_t>(bits::DivideUp(pages, granule_pages));
  auto asked =
      std::max(needed, static_cast<uint32_t>(bits::DivideUp(next_unit_pages_, granule_pages)));
  for (;;) {
    const uint32_t first = root_.Grant(HeadWord::kUnit, asked);
    if (first != RootTier<Config>::kNone) {
      AddUnit(first, asked);
      AddFree(root_.FirstPageOf(first), asked * granule_pages);
      next_unit_pages_ = std::min(2 * next_unit_pages_, max_unit_pages_);
      return true;
    }
    if (asked == needed) return false;
    asked = std::max(asked / 2, needed);
  }
}

template <typename Config>
void ProcessBlock<Config>::AddUnit(uint32_t granule, uint32_t granules) noexcept {
  units_[granule] = {granules, 0};
  std::fill_n(&holders_[root_.FirstPageOf(granule)], granules * root_.granule_pages(), uint16_t{0});
  for (uint32_t i = granule; i < granule + granules; ++i) {
    // Two units of ours never share a granule.
    if (unit_of_[i] != 0) root_.StopForHead(i);
    unit_of_[i] = granule + 1;
  }
}

/** Units all of whose pages are free go back to the root, but for `keep` of them. */
template <typename Config>
void ProcessBlock<Config>::GiveBackWholeUnits(uint32_t keep) noexcept {
  if (whole_units_ <= keep) return;
  const RootHeader& header = root_.header();
  for (uint32_t g = header.first_granule_; g < header.granule_end_ && whole_units_ > keep;) {
    const Unit unit = units_[g];
    if (unit.granules_ == 0) {
      ++g;
      continue;
    }
    if (unit.free_pages_ == unit.granules_ * root_.granule_pages() && !GiveBackUnit(g)) return;
    g += unit.granules_;
  }
}

/** Unlinked first, cleared afterwards. A rank in need may have opened one of its pages. */
template <typename Config>
bool ProcessBlock<Config>::GiveBackUnit(uint32_t granule) noexcept {
  const uint32_t granules = units_[granule].granules_;
  const uint32_t first = root_.FirstPageOf(granule);
  const uint32_t pages = granules * root_.granule_pages();
  const bool is_listed = Engine().TakeRange(first, pages);
  HSHM_CHECK(is_listed);
  CountFree(first, pages, -1);
  {
    typename RootTier<Config>::Guard root(root_);
    if (root.IsHeld() && root_.AllPagesFree(granule, granules)) {
      for (uint32_t page = first; page < first + pages; ++page) ForgetLost(page);
      for (uint32_t i = 0; i < granules; ++i) unit_of_[granule + i] = 0;
      units_[granule] = {0, 0};
      root_.GiveBack(granule);
      return true;
    }
  }
  ListOrLose(first, pages);
  return false;
}

template class ProcessBlock<LargePages>;
template class ProcessBlock<SmallPages>;
template class ProcessBlock<CheckedLargePages>;
template class ProcessBlock<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
