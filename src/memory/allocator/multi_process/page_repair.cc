/** Lists of the dead, into which they may have written after they had freed. */
#include <algorithm>

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
bool PageTable<Config>::IsWhole(uint64_t run) const {
  using Run = RunWord<Config>;
  Offset block = Run::Head(run);
  for (uint32_t i = 1; i < Run::Count(run); ++i) {
    if (!IsFreeBlock(Run::Page(run), block)) return false;
    block = Link(block);
  }
  return block == Run::Tail(run);
}

/** A death between two of the stores is found like that in Drain: local_ begins with the chain. */
template <typename Config>
void PageTable<Config>::DrainOfDead(uint32_t page) const {
  PageEntry* entry = Entry(page);
  const uint64_t word = entry->remote_.load(std::memory_order_acquire);  // pairs with PushChain
  const uint32_t count = RemoteWord::Pushed(word) - entry->drained_.Get();
  const Offset local = entry->local_.Get();
  Offset head = FromRemoteHead(page, RemoteWord::Head(word));
  Offset before = 0;
  Offset tail = 0;
  Offset block = head;
  uint32_t length = 0;
  for (; length < count && block != local && IsFreeBlock(page, block); ++length) {
    before = tail;
    tail = block;
    block = Link(block);
  }
  if (length < count && block != local) {  // the last one leads astray
    tail = before;
    if (tail == 0) head = local;
  }
  if (tail != 0 && Link(tail) != local) SetLink(tail, local);
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
