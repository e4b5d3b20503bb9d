#include "hermes_shm/memory/allocator/multi_process/page_table.h"

#include <algorithm>

#include "hermes_shm/base/bits.h"

namespace hshm::ipc::multi_process {

/** What the owner has taken it has taken for ever: nobody follows the bearers there. */
template <typename Config>
void PageTable<Config>::PushRun(uint32_t page, Offset bearer, uint32_t blocks) const {
  PageEntry* entry = Entry(page);
  // relaxed: published by the CAS
  BearerWord(bearer, RunBearer::kOthers)
      ->store(RunBearer::MakeOthers(blocks - 1), std::memory_order_relaxed);
  uint64_t word = entry->remote_.load(std::memory_order_relaxed);  // relaxed: the CAS re-reads it
  uint64_t posted;
  do {
    BearerWord(bearer, RunBearer::kNext)
        ->store(static_cast<uint16_t>(RemoteWord::Head(word)),
                std::memory_order_relaxed);  // relaxed: published by the CAS
    posted = RemoteWord::Make(ToRemoteHead(page, bearer), RemoteWord::Pushed(word) + blocks);
  } while (
      !entry->remote_.compare_exchange_weak(word, posted,
                                            std::memory_order_release,    // pairs with Drain
                                            std::memory_order_relaxed));  // relaxed: reads only
}

template <typename Config>
uint32_t PageTable<Config>::TakeSomeLocal(PageEntry* entry, OwnedWord<uint64_t>* slot,
                                          uint32_t most) const {
  const uint32_t size_class = ClassOfShape(entry->shape_.Get());
  const Offset first = entry->local_.Get();
  Offset last = first;
  uint32_t taken = 1;
  CheckFree(last, size_class);
  // A list into which a user wrote may be shorter than it was.
  Offset rest = NextListed(last);
  for (; taken < most && rest != 0; ++taken) {
    CheckFree(rest, size_class);
    last = rest;
    rest = NextListed(last);
  }
  slot->Set(first);
  entry->local_.Set(rest);
  if (rest != 0) SetLink(last, 0);
  entry->used_.Set(rest == 0 ? entry->carved_.Get() + 1 : entry->used_.Get() + taken);
  return taken;
}

template <typename Config>
void PageTable<Config>::EndListAt(OwnedWord<uint64_t>* slot, Offset end) const {
  Offset before = 0;
  Offset block = slot->Get();
  for (uint32_t i = 0; block != 0 && block != end && i < Config::kMaxListLength; ++i) {
    before = block;
    block = NextListed(block);
  }
  if (block != end) return;
  before == 0 ? slot->Set(0) : SetLink(before, 0);
}

template <typename Config>
void PageTable<Config>::PushMixed(OwnedWord<uint64_t>* slot) const {
  for (Offset block = slot->Get(); block != 0;) {
    const uint32_t page = HeadOf(PageOf(block));
    if (Entry(page)->local_.Get() == block) {
      slot->Set(0);  // a refill was cut: what is left here the page names
      return;
    }
    const Offset next = NextListed(block);
    slot->Set(next);
    RequireFree(page, block);
    Push(page, block);
    block = next;
  }
}

template <typename Config>
void PageTable<Config>::Drain(uint32_t page) const {
  PageEntry* entry = Entry(page);
  const uint64_t word = entry->remote_.load(std::memory_order_acquire);  // pairs with PushRun
  const uint32_t pushed = RemoteWord::Pushed(word);
  const uint32_t count = pushed - entry->drained_.Get();
  if (count == 0) return;
  // A carve that was cut has listed blocks beyond carved_; they cannot have been pushed.
  if (count > entry->carved_.Get()) defect::Corruption("the remote list of a page", OffsetOf(page));
  const Offset local = entry->local_.Get();
  const Offset head = FromRemoteHead(page, RemoteWord::Head(word));
  HSHM_PREFETCH_TO_WRITE(*region_.AddressOf(head));  // another core has written it
  // From a bearer on that local_ names all is listed: a drain was cut there.
  const uint32_t most = MostOthers(page);
  uint32_t left = count;
  for (Offset bearer = head; left != 0 && (bearer != local || local == 0);) {
    RequireFree(page, bearer);
    const uint32_t others = OthersOf(bearer);
    if (others >= left || others > most) {
      defect::Corruption("the link of a free block", bearer);
    }
    if constexpr (Config::kChecked) {
      for (uint32_t i = 0; i < others; ++i) RequireFree(page, OtherOf(bearer, i));
    }
    left -= others + 1;
    Offset next = local;
    if (left != 0) {
      next = NextPosted(page, bearer);
      HSHM_PREFETCH_TO_WRITE(*region_.AddressOf(next));  // comes while this run is linked
    }
    SetLink(LinkRun(bearer, others), next);
    bearer = next;
  }
  entry->local_.Set(head);
  entry->drained_.Set(pushed);
  entry->used_.Set(entry->used_.Get() - count);
}

/** Up to where a multiple of `bytes` lies: of small blocks the next carve begins a system page. */
template <typename Config>
FreshBlocks PageTable<Config>::NextToCarve(uint32_t page, uint64_t bytes) const {
  const uint32_t carved = Entry(page)->carved_.Get();
  if (carved >= Capacity(page)) return {0, 0};
  const CarveOrder order = OrderOf(page);
  const uint64_t block_bytes = BlockBytes(page);
  const uint64_t place = order.BlockAt(carved) * block_bytes;
  const uint64_t end = (place / bytes + 1) * bytes;
  const auto count = static_cast<uint32_t>(bits::DivideUp(end - place, block_bytes));
  return {place, std::min(order.InRowAt(carved), count)};
}

template <typename Config>
bool PageTable<Config>::Carve(uint32_t page, uint64_t bytes) const {
  PageEntry* entry = Entry(page);
  const auto [place, count] = NextToCarve(page, bytes);
  if (count == 0) return false;
  const uint64_t block_bytes = BlockBytes(page);
  const Offset first = OffsetOf(page) + place;
  for (uint32_t i = 0; i + 1 < count; ++i) {
    SetLink(first + i * block_bytes, first + (i + 1) * block_bytes);
  }
  SetLink(first + (count - 1) * block_bytes, entry->local_.Get());
  MarkCarved(first, first + count * block_bytes, block_bytes, entry->shape_.Get());
  entry->local_.Set(first);
  entry->carved_.Set(entry->carved_.Get() + count);
  return true;
}

template <typename Config>
void PageTable<Config>::FinishCutDrain(uint32_t page) const {
  PageEntry* entry = Entry(page);
  const uint64_t word = entry->remote_.load(std::memory_order_acquire);  // pairs with PushRun
  const uint32_t count = RemoteWord::Pushed(word) - entry->drained_.Get();
  const Offset local = entry->local_.Get();
  if (local == 0 || count > Capacity(page)) return;
  Offset bearer = FromRemoteHead(page, RemoteWord::Head(word));
  for (uint32_t before = 0; before < count && IsIn(page, bearer);) {
    if (bearer == local) {
      entry->drained_.Set(RemoteWord::Pushed(word) - before);  // those came after the cut
      return;
    }
    before += OthersOf(bearer) + 1;
    bearer = NextPosted(page, bearer);
  }
}

template <typename Config>
uint32_t PageTable<Config>::Settle(OwnedWord<uint64_t>* slot) const {
  const Offset first = slot->Get();
  if (first == 0) return kNoPage;
  const uint32_t page = HeadOf(PageOf(first));
  FinishCutDrain(page);  // while local_ still begins with what was drained
  PageEntry* entry = Entry(page);
  const Offset local = entry->local_.Get();
  const uint32_t limit = Capacity(page);
  Offset tail = first;
  uint32_t length = 1;
  for (; tail != local && Link(tail) != 0; tail = Link(tail)) {
    if (++length > limit) defect::Corruption("the free list of a heap", first);
    RequireFree(page, Link(tail));
  }
  if (tail != local) {
    if (Link(tail) != local) SetLink(tail, local);
  }
  entry->local_.Set(first);
  slot->Set(0);
  return page;
}

template <typename Config>
void PageTable<Config>::Recount(uint32_t page) const {
  Drain(page);
  PageEntry* entry = Entry(page);
  uint32_t highest = entry->carved_.Get();
  const uint32_t limit = Capacity(page) + 1;
  const CarveOrder order = OrderOf(page);
  const uint32_t length = Walk(page, entry->local_.Get(), limit, [&](uint32_t block) {
    highest = std::max(highest, order.TurnOf(block) + 1);
    return true;
  });
  if (length >= limit) defect::Corruption("the local list of a page", OffsetOf(page));
  entry->carved_.Set(highest);
  entry->shape_.Set(entry->shape_.Get() & ~kInHand);
  entry->used_.SetRelease(highest - length);
}

/** Blocks begin in each page of a class, but in the first of a run only. */
template <typename Config>
void PageTable<Config>::SetKeys(uint32_t head, HeapId id) const {
  const uint32_t shape = Entry(head)->shape_.Get();
  const uint32_t pages = KindOf(shape) == kKindClass ? Entry(head)->span_.Get() : 1;
  for (uint32_t i = 0; i < pages; ++i) Entry(head + i)->key_.Set(KeyOf(shape, id));
}

template <typename Config>
void PageTable<Config>::ClearKeysOfDead(uint32_t head) const {
  if (KindOf(Entry(head)->shape_.Get()) != kKindClass) return;
  const uint32_t pages = Entry(head)->span_.Get();
  for (uint32_t i = 0; i < pages; ++i) ClearKey(Entry(head + i));
}

template <typename Config>
bool PageTable<Config>::OpenSpan(uint32_t first, uint32_t pages, HeapId id, bool* is_zero) const {
  PageEntry* head = Entry(first);
  if (!head->owner_.CasFrom(kFreePage, id)) return false;
  const bool is_head_zero = TakeZeroMark(head);
  if (is_zero != nullptr) *is_zero = is_head_zero;
  head->span_.Set(1);
  if constexpr (Config::kChecked) head->former_.Set(0);
  if (pages == 1 || ExtendSpan(first, pages, is_zero)) return true;
  ShrinkSpan(first, 1);
  head->owner_.SetRelease(kFreePage);
  return false;
}

template <typename Config>
bool PageTable<Config>::ExtendSpan(uint32_t head, uint32_t pages, bool* is_zero) const {
  PageEntry* entry = Entry(head);
  for (uint32_t i = entry->span_.Get(); i < pages; ++i) {
    PageEntry* next = Entry(head + i);
    if (!next->owner_.CasFrom(kFreePage, kSpanInterior)) return false;
    const bool is_next_zero = TakeZeroMark(next);
    if (is_zero != nullptr && !is_next_zero) *is_zero = false;
    next->back_.Set(i);
    if constexpr (Config::kChecked) next->former_.Set(0);
    entry->span_.Set(i + 1);
  }
  return true;
}

template <typename Config>
void PageTable<Config>::ShrinkSpan(uint32_t head, uint32_t pages) const {
  PageEntry* entry = Entry(head);
  for (uint32_t i = entry->span_.Get(); i > pages; --i) {
    PageEntry* last = Entry(head + i - 1);
    ClearKey(last);
    TakeZeroMark(last);  // it may have got its memory, and been written to, while the span was open
    entry->span_.Set(i - 1);
    last->owner_.SetRelease(kFreePage);
  }
}

template <typename Config>
void PageTable<Config>::Retire(uint32_t head) const {
  PageEntry* entry = Entry(head);
  HSHM_ASSERT(entry->used_.Get() == 0);
  if constexpr (Config::kChecked) NoteFormerBlocks(head);
  entry->carved_.Set(0);
  entry->local_.Set(0);
  if constexpr (Config::kChecked) ClearMarks(head);
  ShrinkSpan(head, 1);
  entry->shape_.Set(0);
  ClearKey(entry);
  entry->owner_.SetRelease(kFreePage);
}

template <typename Config>
void PageTable<Config>::Delete(uint32_t head) const {
  PageEntry* entry = Entry(head);
  const uint64_t word = entry->remote_.load(std::memory_order_acquire);  // pairs with PushRun
  entry->shape_.Set(0);  // commit: what a sweeper finds so is deleted, whatever its lists say
  entry->local_.Set(0);
  entry->drained_.Set(RemoteWord::Pushed(word));
  entry->used_.Set(0);
  Retire(head);
}

template <typename Config>
void PageTable<Config>::Discard(uint32_t head) const {
  if constexpr (Config::kChecked) NoteFormerBlocks(head);
  Delete(head);
}

template <typename Config>
void PageTable<Config>::ClearCutExtension(uint32_t head, uint32_t page_end) const {
  const uint32_t next = head + std::max(Entry(head)->span_.Get(), 1u);
  if (next < page_end && Entry(next)->owner_.Get() == kSpanInterior) {
    ClearKey(Entry(next));
    Entry(next)->owner_.SetRelease(kFreePage);
  }
}

template class PageTable<LargePages>;
template class PageTable<SmallPages>;
template class PageTable<CheckedLargePages>;
template class PageTable<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
