#include "hermes_shm/memory/allocator/multi_process/sweeper.h"

#include <algorithm>

namespace hshm::ipc::multi_process {
namespace {

/** For a heap's lock, while others wait for the root's. Its own thread has it, as takers need the
 * root's first: for microseconds, or until it runs again. In vain it costs time, and no memory: a
 * later sweep deletes. */
constexpr uint64_t kHeapTimeoutUs = 200'000;
/** Of a process that joins, where all ranks of a node may come one after the other. */
constexpr uint64_t kJoinerTimeoutUs = 10'000;

}  // namespace

template <typename Config>
uint32_t Sweeper<Config>::Run(Whom whom) noexcept {
  root_.GiveBackFreed();
  const SlotSet labels = FindLabels();
  const uint32_t own = process_->slot();
  Membership& members = *process_->membership_;
  for (uint32_t slot = 0; slot < members.slot_count(); ++slot) {
    if (!labels[slot]) continue;
    dead_[slot] = slot == own ? whom == kAlsoOwnSlot : !members.IsAlive(slot);
    deleted_[slot] = dead_[slot] && IsDeletedOnDeath(slot);
  }
  if (dead_.none()) return 0;
  are_runs_posted_ = PostRunsOfLiving();
  // What our own slot labels cannot wait: from here on that is ours.
  if (!are_runs_posted_) deleted_[own] = false;
  SettleHeaps();
  SweepPages();
  SweepUnits();
  // Of what is put off, who does it tells.
  const SlotSet done = are_runs_posted_ ? dead_ : dead_ & ~deleted_;
  counts_.processes_ += static_cast<uint32_t>(done.count());
  return static_cast<uint32_t>(dead_.count());
}

template <typename Config>
bool Sweeper<Config>::DeleteSlot(uint32_t slot) noexcept {
  dead_.reset();
  deleted_.reset();
  dead_[slot] = true;
  deleted_[slot] = true;
  is_leaving_ = slot == process_->slot();
  are_runs_posted_ = PostRunsOfLiving();
  if (!are_runs_posted_ && !is_leaving_) return false;
  SettleHeaps();
  SweepPages();
  SweepUnits();
  if (!is_leaving_) ++counts_.processes_;
  return are_runs_posted_;
}

template <typename Config>
bool Sweeper<Config>::HasLabel(uint32_t slot) noexcept {
  return FindLabels()[slot];
}

template <typename Config>
uint32_t Sweeper<Config>::LivingStranger() noexcept {
  const SlotSet labels = FindLabels();
  Membership& members = *process_->membership_;
  const SlotEntry& me = *members.entry(process_->slot());
  for (uint32_t slot = 0; slot < members.slot_count(); ++slot) {
    if (!labels[slot] || !members.IsAlive(slot)) continue;
    const SlotEntry& other = *members.entry(slot);
    if (other.os_pid_ != me.os_pid_ || other.start_time_ != me.start_time_ ||
        other.pid_namespace_ != me.pid_namespace_) {
      return slot;
    }
  }
  return Mutex::kNoSlot;
}

template <typename Config>
bool Sweeper<Config>::IsDeletedOnDeath(uint32_t slot) const noexcept {
  return process_->membership_->entry(slot)->on_death_ == static_cast<uint32_t>(OnDeath::kReclaim);
}

/** Slots that label a unit, a large block or a page. */
template <typename Config>
SlotSet Sweeper<Config>::FindLabels() noexcept {
  SlotSet labels;
  // The lists are exact under the mutex: in a region of which nothing was granted nobody left
  // anything, and its words need not be read.
  const RootHeader& header = root_.header();
  if (root_.FreeGranules() == header.granule_end_ - header.first_granule_) return labels;
  root_.ForEachHead([&](uint32_t, uint32_t word) {
    if (const uint32_t slot = HeadWord::Slot(word); slot < kMaxSlots) labels[slot] = true;
    return true;
  });
  root_.ForEachSpan(
      [&](uint32_t page, uint32_t) { labels[SlotOf(pages_.Entry(page)->owner_.Get())] = true; });
  return labels;
}

template <typename Config>
void Sweeper<Config>::SettleHeaps() noexcept {
  root_.ForEachSpan([&](uint32_t page, uint32_t) {
    const PageEntry* entry = pages_.Entry(page);
    if (dead_[SlotOf(entry->owner_.Get())] && PageTable<Config>::HoldsRecords(entry)) {
      SettleRecords(page);
    }
  });
}

template <typename Config>
void Sweeper<Config>::SettleRecords(uint32_t page) noexcept {
  constexpr uint32_t kPerPage = Config::kPageBytes / sizeof(HeapRecord<Config>);
  auto* records =
      process_->region_.template At<HeapRecord<Config>>(PageTable<Config>::OffsetOf(page));
  for (uint32_t i = 0; i < kPerPage; ++i) {
    if (records[i].id_.Get() == 0) continue;
    PendingFrees<Config>::Settle(pages_, &records[i]);
    if (!is_leaving_) ++counts_.heaps_;
  }
}

/**
 * Remote frees of pages that are about to be deleted, and that wait in heaps of the living: posted
 * later, they would go to whoever has the page then. Each heap's lock is taken, for a run may be in
 * its thread's hands. False when one cannot be had soon, because its holder is stopped, or off the
 * processor: then those pages are left to a later sweep. The next ones of this process only ask.
 */
template <typename Config>
bool Sweeper<Config>::PostRunsOfLiving() noexcept {
  if (deleted_.none()) return true;
  bool is_complete = true;
  root_.ForEachSpan([&](uint32_t page, uint32_t) {
    const PageEntry* entry = pages_.Entry(page);
    if (dead_[SlotOf(entry->owner_.Get())] || !PageTable<Config>::HoldsRecords(entry)) return;
    constexpr uint32_t kPerPage = Config::kPageBytes / sizeof(HeapRecord<Config>);
    auto* records =
        process_->region_.template At<HeapRecord<Config>>(PageTable<Config>::OffsetOf(page));
    for (uint32_t i = 0; i < kPerPage && is_complete; ++i) {
      if (records[i].id_.GetAcquire() != 0) is_complete = PostRunsOf(&records[i]);
    }
  });
  return is_complete;
}

/** Who joins in the slot of the dead could not delete later, see Run. */
template <typename Config>
uint64_t Sweeper<Config>::HeapTimeoutUs() const noexcept {
  return process_->is_slot_swept_ || deleted_[process_->slot()] ? kHeapTimeoutUs : kJoinerTimeoutUs;
}

template <typename Config>
bool Sweeper<Config>::PostRunsOf(HeapRecord<Config>* record) noexcept {
  const LockIdentity me = process_->membership_->identity();
  Mutex& lock = record->lock_;
  const LockResult result =
      process_->stuck_heap_ == &lock ? lock.TryLock(me) : lock.Lock(me, HeapTimeoutUs());
  if (result == LockResult::kTimeout) {
    process_->stuck_heap_ = &lock;
    return false;
  }
  if (process_->stuck_heap_ == &lock) process_->stuck_heap_ = nullptr;
  PendingFrees<Config>::PostNamed(pages_, record, [&](uint32_t page) {
    // Adopted pages stay: frees of their blocks go on.
    const PageEntry* entry = pages_.Entry(page);
    return deleted_[SlotOf(entry->owner_.Get())] && (entry->shape_.Get() & kAdopted) == 0;
  });
  record->lock_.Unlock(me);
  return true;
}

template <typename Config>
void Sweeper<Config>::SweepPages() noexcept {
  root_.ForEachSpan([&](uint32_t page, uint32_t unit_end) {
    if (dead_[SlotOf(pages_.Entry(page)->owner_.Get())]) SweepPage(page, unit_end);
  });
}

template <typename Config>
void Sweeper<Config>::SweepPage(uint32_t page, uint32_t unit_end) noexcept {
  // An extension that was cut may have marked one page more, in this unit or the next one.
  const uint32_t next = page + std::max(pages_.Entry(page)->span_.Get(), 1u);
  if (next < unit_end || root_.IsInUnit(next)) pages_.ClearCutExtension(page, next + 1);
  PageEntry* entry = pages_.Entry(page);
  const uint32_t shape = entry->shape_.Get();
  const bool is_deleted = deleted_[SlotOf(entry->owner_.Get())] && (shape & kAdopted) == 0;
  // No kind: opened and not used yet, or deleted half.
  if (KindOf(shape) == kKindHeaps || KindOf(shape) == kKindNone ||
      (is_deleted && are_runs_posted_)) {
    DropRoots(page, std::max(entry->span_.Get(), 1u));
    CountDeleted(page);
    pages_.Delete(page);
    return;
  }
  pages_.RecountOfDead(page);
  if (entry->used_.Get() == 0) {
    pages_.Retire(page);
    return;
  }
  // As it is, and swept again later, but for the names of what is about to go.
  if (is_deleted) DropRoots(page, std::max(entry->span_.Get(), 1u));
  if (is_leaving_ || is_deleted) return;
  // Of a run that was being made shorter the slot may be wrong: it has none from here on.
  const uint32_t kept = KindOf(shape) == kKindRun ? MakeShape(kKindRun) : shape & ~kInHand;
  entry->shape_.Set(kept | kAdopted);
  pages_.ClearKeysOfDead(page);
  entry->owner_.SetRelease(heap_->id());
  heap_->Adopt(page);
  process_->Claim(heap_->index() + 1, page, std::max(entry->span_.Get(), 1u));
  counts_.adopted_pages_ += std::max(entry->span_.Get(), 1u);
  counts_.adopted_bytes_ += LiveBytes(page);
}

template <typename Config>
bool Sweeper<Config>::HasBlocks(uint32_t page) const noexcept {
  const PageKind kind = KindOf(pages_.Entry(page)->shape_.Get());
  return kind == kKindClass || kind == kKindRun;
}

/** In blocks that somebody holds, or that were in flight; of a page that was counted anew. */
template <typename Config>
uint64_t Sweeper<Config>::LiveBytes(uint32_t page) const noexcept {
  return pages_.Entry(page)->used_.Get() * pages_.BlockBytes(page);
}

template <typename Config>
void Sweeper<Config>::CountDeleted(uint32_t page) noexcept {
  if (is_leaving_ || !HasBlocks(page)) return;
  pages_.RecountOfDead(page);
  counts_.deleted_bytes_ += LiveBytes(page);
}

/**
 * Names of what is about to be deleted go before it does: nobody finds another's block under them.
 * See AllocatorCore::SetRootOffset, whose lock this needs not.
 */
template <typename Config>
void Sweeper<Config>::DropRoots(uint32_t page, uint32_t pages) noexcept {
  const Region& region = process_->region_;
  auto* const header = region.At<AllocatorHeader>(AllocatorOffsetFor(region.size_bytes_));
  const Offset first = PageTable<Config>::OffsetOf(page);
  for (RootEntry& entry : header->roots_) {
    uint64_t named = entry.offset_.load(std::memory_order_acquire);  // pairs with SetRoot
    if (named < first || named - first >= pages * Config::kPageBytes) continue;
    // Who has set another one meanwhile keeps it.
    entry.offset_.compare_exchange_strong(named, 0,
                                          std::memory_order_release,   // pairs with FindRoot
                                          std::memory_order_relaxed);  // relaxed: not read again
  }
}

/** An extension of a large block goes as a unit does that nobody uses: its pages are all free. */
template <typename Config>
void Sweeper<Config>::SweepUnits() noexcept {
  root_.ForEachHead([&](uint32_t granule, uint32_t word) {
    const uint32_t slot = HeadWord::Slot(word);
    if (slot >= kMaxSlots || !dead_[slot]) return true;
    const uint32_t granules = HeadWord::Granules(word);
    if (HeadWord::KindOf(word) == HeadWord::kLarge) {
      if (deleted_[slot]) {
        const uint32_t first = root_.FirstPageOf(granule);
        DropRoots(first, root_.FirstPageOf(granule + granules) - first);
        if (!is_leaving_) counts_.deleted_bytes_ += granules * root_.granule_bytes();
        root_.GiveBack(granule);
      } else {
        root_.Relabel(granule, HeadWord::kLarge, 0);
        counts_.adopted_bytes_ += granules * root_.granule_bytes();
      }
    } else if (root_.AllPagesFree(granule, granules)) {
      root_.GiveBack(granule);
    } else if (!is_leaving_) {
      AdoptUnit(granule, granules);
    }
    return true;
  });
}

template <typename Config>
void Sweeper<Config>::AdoptUnit(uint32_t granule, uint32_t granules) noexcept {
  root_.Relabel(granule, HeadWord::kUnit, process_->slot() + 1);
  process_->AddUnit(granule, granules);
  const uint32_t end = root_.FirstPageOf(granule + granules);
  for (uint32_t page = root_.FirstPageOf(granule); page < end; ++page) {
    const HeapId owner = pages_.Entry(pages_.HeadOf(page))->owner_.GetAcquire();
    if (pages_.Entry(page)->owner_.Get() == kFreePage) {
      process_->AddFree(page, 1);
    } else if (SlotOf(owner) != process_->slot()) {
      process_->NoteLost(page);
    } else {
      process_->holders_[page] = static_cast<uint16_t>(process_->HolderOf(owner));
    }
  }
}

template class Sweeper<LargePages>;
template class Sweeper<SmallPages>;
template class Sweeper<CheckedLargePages>;
template class Sweeper<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
