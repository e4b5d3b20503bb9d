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
  end = std::min(end, root_.FirstPageOf(root_.header().granule_end_));
  uint32_t run = begin;  // pages [run, page) can be won
  // Of what covers the page looked at last. Scanning may start in the middle of a unit.
  uint32_t cover_end = root_.header().first_page_;
  for (uint32_t page = begin; page < end;) {
    if (page >= cover_end && !IsInUnitOfLiving(page, &cover_end)) {
      page = cover_end;
      run = page;
      continue;
    }
    const uint32_t won = Winnable(page);
    page += std::max(won, 1u);
    if (won == 0) run = page;
    const uint32_t first = static_cast<uint32_t>(bits::AlignUp(run, alignment));
    if (page < first + pages || won == 0) continue;
    const uint32_t resisted = Empty(run, page);
    if (resisted == page && Open(first, pages)) return first;
    // What lies behind the page that resisted may still begin a run.
    if (resisted != page) page = std::min(page, resisted + SpanAt(resisted));
    run = page;
  }
  return kNoPage;
}

template <typename Config>
uint32_t Taker<Config>::FreeOnePage() noexcept {
  const RootHeader& header = root_.header();
  const uint32_t end = root_.FirstPageOf(header.granule_end_);
  uint32_t cover_end = header.first_page_;
  for (uint32_t page = cover_end; page < end;) {
    if (page >= cover_end && !IsInUnitOfLiving(page, &cover_end)) {
      page = cover_end;
      continue;
    }
    const uint32_t won = Winnable(page);
    if (won != 0 && Empty(page, page + won) == page + won) {
      if (root_.CommitPages(page, 1)) return page;
      is_memory_gone_ = true;  // from here on only a page that has its memory will do
    }
    page += std::max(won, 1u);
  }
  return kNoPage;
}

template <typename Config>
bool Taker<Config>::IsInUnitOfLiving(uint32_t page, uint32_t* cover_end) noexcept {
  // What covers the page begins here at the earliest.
  const uint32_t border = root_.GranuleOf(*cover_end);
  uint32_t granule = root_.GranuleOf(page);
  *cover_end = root_.FirstPageOf(granule + 1);
  while (granule > border && root_.Head(granule) == 0) --granule;
  const uint32_t word = root_.Head(granule);
  if (word == 0) return false;
  const uint32_t end = root_.FirstPageOf(granule + HeadWord::Granules(word));
  if (page >= end) return false;
  *cover_end = end;
  const uint32_t slot_plus_one = HeadWord::SlotPlusOne(word);
  return HeadWord::KindOf(word) == HeadWord::kUnit && slot_plus_one != 0 &&
         slot_plus_one <= kMaxSlots && IsAlive(slot_plus_one - 1);
}

template <typename Config>
uint32_t Taker<Config>::SpanAt(uint32_t page) const noexcept {
  const PageEntry* entry = pages_.Entry(page);
  return entry->owner_.GetAcquire() > kSpanInterior ? std::max(entry->span_.Get(), 1u) : 1;
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
  if (owner == kFreePage) {
    const bool is_usable = !is_memory_gone_ || entry->committed_.Get() != kNotCommitted;
    return is_usable && !IsInHand(page) ? 1 : 0;
  }
  if (owner == kSpanInterior || owner == heap_->id()) return 0;
  if ((entry->shape_.Get() & kInHand) != 0) return 0;
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
  // In hand it is refilled without the lock, and its count rises between the two looks at it.
  const bool is_in_hand = (entry->shape_.Get() & kInHand) != 0;
  const uint32_t used = entry->used_.GetAcquire();
  const bool is_free = !is_in_hand && entry->owner_.GetAcquire() == owner &&
                       PageTable<Config>::Pending(entry) == used;
  if (is_free) entry->owner_.SetRelease(heap_->id());  // commit
  record->lock_.Unlock(me);
  if (!is_free) return false;
  // Ours, and takers need the root mutex, which we have: nobody else looks at it.
  const uint32_t span = std::max(entry->span_.Get(), 1u);
  // The owner may have died in a change of the span, and another process have its slot since.
  if (root_.IsInUnit(head + span)) pages_.ClearCutExtension(head, head + span + 1);
  pages_.Discard(head);
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
  if (!root_.CommitPages(first, pages)) {
    is_memory_gone_ = true;
    return false;
  }
  const typename ThreadHeap<Config>::SlowPath lock(*heap_);
  if (lock.IsHeld() && pages_.OpenSpan(first, pages, heap_->id())) {
    pages_.Entry(first)->used_.Set(1);
    const uint32_t behind = heap_->NoteOwned(first, pages);
    process_->DropFromHand(heap_->index() + 1, first + pages, behind);
    process_->Claim(heap_->index() + 1, first, pages);
    return true;
  }
  return false;
}

template <typename Config>
HeapRecord<Config>* Taker<Config>::FindRecord(HeapId id) noexcept {
  if (record_of_ == id) return record_;
  record_of_ = id;
  // Where the last one of this process was; taking page by page does not scan for each.
  uint32_t& hint = process_->record_hints_[SlotOf(id)];
  record_ = hint != 0 ? RecordIn(hint, id) : nullptr;
  if (record_ != nullptr) return record_;
  root_.ForEachHead([&](uint32_t granule, uint32_t word) {
    if (HeadWord::KindOf(word) != HeadWord::kUnit) return true;
    const uint32_t end = root_.FirstPageOf(granule + HeadWord::Granules(word));
    for (uint32_t page = root_.FirstPageOf(granule); page < end && record_ == nullptr; ++page) {
      record_ = RecordIn(page, id);
      if (record_ != nullptr) hint = page;
    }
    return record_ == nullptr;
  });
  return record_;
}

/** The page is or was in a unit. While it holds records of the living its memory is there. */
template <typename Config>
HeapRecord<Config>* Taker<Config>::RecordIn(uint32_t page, HeapId id) const noexcept {
  const HeapId owner = pages_.Entry(page)->owner_.GetAcquire();
  if (owner <= kSpanInterior || SlotOf(owner) != SlotOf(id)) return nullptr;
  if (!PageTable<Config>::HoldsRecords(pages_.Entry(page))) return nullptr;
  constexpr uint32_t kPerPage = Config::kPageBytes / sizeof(HeapRecord<Config>);
  auto* records =
      process_->region_.template At<HeapRecord<Config>>(PageTable<Config>::OffsetOf(page));
  for (uint32_t i = 0; i < kPerPage; ++i) {
    if (records[i].id_.Get() == id) return &records[i];
  }
  return nullptr;
}

template class Taker<LargePages>;
template class Taker<SmallPages>;
template class Taker<CheckedLargePages>;
template class Taker<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
