/** Lists of the dead, into which they may have written after they had freed. */
#include <algorithm>
#include <array>

#include "hermes_shm/memory/allocator/multi_process/page_table.h"

namespace hshm::ipc::multi_process {

template <typename Config>
bool PageTable<Config>::IsFreeBlock(uint32_t page, Offset block) const {
  const uint64_t bytes = BlockBytes(page);
  const uint64_t place = block - OffsetOf(page);  // huge where the block lies before the page
  if (bytes == 0 || place % bytes != 0 || place / bytes >= Capacity(page)) return false;
  return EntryOf(block)->committed_.Get() != 0 && IsMarkedFree(block, Entry(page)->shape_.Get());
}

template <typename Config>
bool PageTable<Config>::IsListable(uint32_t slot, Offset block, HeapId heap) const {
  if (PageOf(block) >= region_.size_bytes_ / Config::kPageBytes) return false;
  const uint32_t page = HeadOf(PageOf(block));
  const uint32_t shape = Entry(page)->shape_.Get();
  const PageKind kind = slot < Config::kFirstRunSlot ? kKindClass : kKindRun;
  return KindOf(shape) == kind && ClassOfShape(shape) == slot &&
         SlotOf(Entry(page)->owner_.Get()) == SlotOf(heap) && IsFreeBlock(page, block);
}

template <typename Config>
template <typename IsGood>
void PageTable<Config>::EndList(OwnedWord<uint64_t>* first, uint32_t most, IsGood is_good) const {
  Offset before = 0;
  Offset last = 0;
  uint32_t length = 0;
  for (Offset block = first->Get(); block != 0; block = Link(block), ++length) {
    if (length == most || !is_good(block)) {
      before != 0 ? SetLink(before, 0) : first->Set(0);
      return;
    }
    before = last;
    last = block;
  }
}

template <typename Config>
void PageTable<Config>::CutList(uint32_t slot, OwnedWord<uint64_t>* first, HeapId heap) const {
  if (first->Get() == 0) return;
  const uint32_t most = Config::kMaxListLength;
  const bool is_of_one_page = slot < Config::kFirstMixedSlot;
  const bool is_first_good = IsListable(slot, first->Get(), heap);
  const uint32_t head = is_first_good ? HeadOf(PageOf(first->Get())) : 0;
  EndList(first, most, [&](Offset block) {
    return IsListable(slot, block, heap) && (!is_of_one_page || HeadOf(PageOf(block)) == head);
  });
}

template <typename Config>
bool PageTable<Config>::IsRun(uint32_t page, Offset bearer, uint32_t others) const {
  if (others > MostOthers(page)) return false;
  std::array<Offset, RunWord<Config>::kMaxBlocks> blocks{bearer};
  for (uint32_t i = 0; i < others; ++i) blocks[i + 1] = OtherOf(bearer, i);
  const auto end = blocks.begin() + others + 1;
  std::sort(blocks.begin(), end);
  return std::adjacent_find(blocks.begin(), end) == end &&
         std::all_of(blocks.begin(), end, [&](Offset b) { return IsFreeBlock(page, b); });
}

/** A death between two of the stores is found like that in Drain: local_ names a bearer. The list
 * ends before a bearer into which somebody wrote: it leads to none, or tells of blocks that are no
 * run. */
template <typename Config>
void PageTable<Config>::DrainOfDead(uint32_t page) const {
  PageEntry* entry = Entry(page);
  const uint64_t word = entry->remote_.load(std::memory_order_acquire);  // pairs with PushRun
  const uint32_t count = RemoteWord::Pushed(word) - entry->drained_.Get();
  const Offset local = entry->local_.Get();
  Offset head = FromRemoteHead(page, RemoteWord::Head(word));
  Offset before = 0;
  Offset tail = 0;
  Offset bearer = head;
  uint32_t left = count;
  while (left != 0 && (bearer != local || local == 0)) {
    if (!IsFreeBlock(page, bearer)) {
      tail = before;  // the last one leads astray
      break;
    }
    const uint32_t others = OthersOf(bearer);
    if (others >= left || !IsRun(page, bearer, others)) break;
    if (tail != 0) SetLink(tail, bearer);
    before = tail;
    tail = LinkRun(bearer, others);
    left -= others + 1;
    if (left != 0) bearer = NextPosted(page, bearer);
  }
  if (tail != 0) {
    SetLink(tail, local);
  } else {
    head = local;
  }
  entry->local_.Set(head);
  entry->drained_.Set(RemoteWord::Pushed(word));
}

template <typename Config>
void PageTable<Config>::RecountOfDead(uint32_t page) const {
  if (Pending(Entry(page)) != 0) DrainOfDead(page);
  EndList(&Entry(page)->local_, Capacity(page), [&](Offset b) { return IsFreeBlock(page, b); });
  Recount(page);
}

template class PageTable<LargePages>;
template class PageTable<SmallPages>;
template class PageTable<CheckedLargePages>;
template class PageTable<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
