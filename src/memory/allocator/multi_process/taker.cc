#include "hermes_shm/memory/allocator/multi_process/taker.h"

#include <algorithm>

namespace hshm::ipc::multi_process {

template <typename Config>
uint32_t Taker<Config>::Take(uint32_t pages, uint32_t alignment) noexcept {
  const RootHeader& header = root_.header();
  // From where the last search ended, so that taking many pages one by one scans the table once.
  const uint32_t cursor = std::max(process_->take_cursor_, header.first_page_);
  uint32_t head = Search(cursor, header.page_count_, pages, alignment);
  if (head == kNoPage && cursor != header.first_page_) {
    head = Search(header.first_page_, header.page_count_, pages, alignment);
  }
  process_->take_cursor_ = head == kNoPage ? 0 : head + pages;
  return head;
}

template <typename Config>
uint32_t Taker<Config>::Search(uint32_t begin, uint32_t end, uint32_t pages,
                               uint32_t alignment) noexcept {
  uint32_t run = begin;       // pages [run, page) can be won
  uint32_t unit_end = begin;  // of the unit that covers page
  for (uint32_t page = begin; page < end;) {
    if (page >= unit_end) {
      unit_end = UnitEndOfLiving(page);
      if (unit_end == 0) {
        page = root_.FirstPageOf(root_.GranuleOf(page) + 1);
        run = page;
        continue;
      }
    }
    const uint32_t won = Winnable(page);
    page += std::max(won, 1u);
    if (won == 0) run = page;
    const uint32_t first = static_cast<uint32_t>(bits::AlignUp(run, alignment));
    if (page < first + pages || won == 0) continue;
    const uint32_t resisted = Empty(run, page);
    if (resisted == page && Open(first, pages)) return first;
    run = resisted == page ? first + 1 : resisted + 1;
    page = std::max(run, page);
    run = page;
  }
  return kNoPage;
}

template <typename Config>
uint32_t Taker<Config>::UnitEndOfLiving(uint32_t page) noexcept {
  // Scanning starts in the middle of a unit only when it starts at the cursor: walk back to a head.
  uint32_t granule = root_.GranuleOf(page);
  while (granule > root_.header().first_granule_ && root_.Head(granule) == 0) --granule;
  const uint32_t word = root_.Head(granule);
  if (HeadWord::KindOf(word) != HeadWord::kUnit || HeadWord::SlotPlusOne(word) == 0) return 0;
  const uint32_t end = root_.FirstPageOf(granule + HeadWord::Granules(word));
  return page < end && IsAlive(HeadWord::SlotPlusOne(word) - 1) ? end : 0;
}

template <typename Config>
bool Taker<Config>::IsAlive(uint32_t slot) noexcept {
  if (slot == process_->slot()) return true;
  if (!asked_[slot]) {
    asked_[slot] = true;
    alive_[slot] = process_->membership_->IsAlive(slot);
  }
  return alive_[slot];
}

template <typename Config>
uint32_t Taker<Config>::Winnable(uint32_t page) noexcept {
  const PageEntry* entry = pages_.Entry(page);
  const HeapId owner = entry->owner_.GetAcquire();
  if (owner == kFreePage) return IsInHand(page) ? 0 : 1;
  if (owner == kSpanInterior || owner == heap_->id()) return 0;
  if (entry->used_.GetAcquire() != PageTable<Config>::Pending(entry)) return 0;
  return IsAlive(SlotOf(owner)) ? std::max(entry->span_.Get(), 1u) : 0;
}

/** In another heap's hand; what this one returned, or was refused, it may open again. */
template <typename Config>
bool Taker<Config>::IsInHand(uint32_t page) noexcept {
  return process_->IsInHand(page) && process_->holders_[page] != heap_->index() + 1;
}

template <typename Config>
uint32_t Taker<Config>::Empty(uint32_t begin, uint32_t end) noexcept {
  for (uint32_t page = begin; page < end;) {
    if (pages_.Entry(page)->owner_.GetAcquire() == kFreePage) {
      if (IsInHand(page)) return page;
      ++page;
      continue;
    }
    const uint32_t span = std::max(pages_.Entry(page)->span_.Get(), 1u);
    if (page + span > end || !TakeSpan(page)) return page;
    page += span;
  }
  return end;
}

template <typename Config>
bool Taker<Config>::TakeSpan(uint32_t head) noexcept {
  PageEntry* entry = pages_.Entry(head);
  const HeapId owner = entry->owner_.GetAcquire();
  if (owner <= kSpanInterior || owner == heap_->id() || !IsAlive(SlotOf(owner))) return false;
  HeapRecord<Config>* record = FindRecord(owner);
  if (record == nullptr) return false;
  const LockIdentity me = process_->membership_->identity();
  if (record->lock_.TryLockUnlessDeadIn(me, SlotOf(owner)) == LockResult::kTimeout) return false;
  const uint32_t used = entry->used_.GetAcquire();
  const bool is_free =
      entry->owner_.GetAcquire() == owner && PageTable<Config>::Pending(entry) == used;
  if (is_free) entry->owner_.SetRelease(heap_->id());  // commit
  record->lock_.Unlock(me);
  if (!is_free) return false;
  const typename ThreadHeap<Config>::SlowPath lock(
      *heap_);  // takers need the root mutex, we have it
  if (!lock.IsHeld()) return false;
  pages_.Drain(head);
  HSHM_CHECK(entry->used_.Get() == 0);
  const uint32_t span = std::max(entry->span_.Get(), 1u);
  pages_.Retire(head);
  for (uint32_t page = head; page < head + span; ++page) {
    if (!process_->IsOurs(page)) continue;
    // Out of its holder's hand: polled here, or a page of another heap's thread unit as before.
    const uint32_t home = process_->HomeOf(page);
    process_->holders_[page] = static_cast<uint16_t>(home);
    if (home == 0) process_->NoteLost(page);
  }
  return true;
}

template <typename Config>
bool Taker<Config>::Open(uint32_t first, uint32_t pages) noexcept {
  if (!root_.CommitPages(first, pages)) return false;
  const typename ThreadHeap<Config>::SlowPath lock(*heap_);
  if (lock.IsHeld() && pages_.OpenSpan(first, pages, heap_->id())) {
    pages_.Entry(first)->used_.Set(1);
    heap_->NoteOwned(first, pages);
    process_->Claim(heap_->index() + 1, first, pages);
    return true;
  }
  return false;
}

template <typename Config>
HeapRecord<Config>* Taker<Config>::FindRecord(HeapId id) noexcept {
  if (record_of_ == id) return record_;
  constexpr uint32_t kPerPage = Config::kPageBytes / sizeof(HeapRecord<Config>);
  record_of_ = id;
  record_ = nullptr;
  root_.ForEachHead([&](uint32_t granule, uint32_t word) {
    if (HeadWord::KindOf(word) != HeadWord::kUnit) return true;
    const uint32_t end = root_.FirstPageOf(granule + HeadWord::Granules(word));
    for (uint32_t page = root_.FirstPageOf(granule); page < end && record_ == nullptr; ++page) {
      const PageEntry* entry = pages_.Entry(page);
      if (entry->owner_.GetAcquire() <= kSpanInterior) continue;
      if (SlotOf(entry->owner_.Get()) != SlotOf(id)) continue;
      if (KindOf(entry->shape_.Get()) != kKindHeaps) continue;
      auto* records =
          process_->region_.template At<HeapRecord<Config>>(PageTable<Config>::OffsetOf(page));
      for (uint32_t i = 0; i < kPerPage; ++i) {
        if (records[i].id_.Get() == id) record_ = &records[i];
      }
    }
    return record_ == nullptr;
  });
  return record_;
}

template class Taker<LargePages>;
template class Taker<SmallPages>;

}  // namespace hshm::ipc::multi_process
