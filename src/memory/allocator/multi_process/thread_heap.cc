#include "hermes_shm/memory/allocator/multi_process/thread_heap.h"

#include <algorithm>
#include <array>

#include "hermes_shm/memory/allocator/multi_process/process_block.h"

namespace hshm::ipc::multi_process {
namespace {

Effort Next(Effort effort) { return static_cast<Effort>(static_cast<int>(effort) + 1); }

/** A refill with a list below this makes it longer, if its page has fresh blocks. */
constexpr uint64_t kShortListBytes = 16 * 1024;
constexpr uint64_t kShortListBlocks = 64;  // a refill costs as much as 20 allocations
constexpr uint64_t kShortestList = 4;

struct ClassLimits {
  uint32_t capacity_;  // blocks of a page of the class
  uint32_t short_list_;
};

template <typename Config>
constexpr auto kClassLimits = [] {
  std::array<ClassLimits, Config::kClassCount> limits{};
  for (uint32_t c = 0; c < Config::kClassCount; ++c) {
    const uint64_t bytes = ClassBytes(c);
    const uint64_t pages = Config::PagesOf(bytes);
    limits[c].capacity_ = static_cast<uint32_t>(pages * Config::kPageBytes / bytes);
    limits[c].short_list_ =
        static_cast<uint32_t>(std::clamp(kShortListBytes / bytes, kShortestList, kShortListBlocks));
  }
  return limits;
}();

}  // namespace

/** For the heap's lock, which a taker holds. */
template <typename Config>
bool ThreadHeap<Config>::Wait() noexcept {
  const NoCancellation while_asleep;
  Patience& patience = process_->root().patience();
  const LockResult result = record_->lock_.Lock(identity_, patience.TimeoutUs(record_->lock_));
  patience.Note(record_->lock_, result);
  is_locked_out_ = result == LockResult::kTimeout;
  return !is_locked_out_;
}

template <typename Config>
ThreadHeap<Config>::ThreadHeap(ProcessBlock<Config>* process, uint32_t index, HeapId id)
    : process_(process),
      identity_(process->membership_->identity()),
      pressure_(&process->root().header().pressure_),
      index_(index),
      pending_(process->pages(), identity_, process->slot()) {
  const RootHeader& root = process->root().header();
  pages_ = process->pages();
  record_ = nullptr;
  id_ = id;
  page_key_ = FreeKey::Make(id);
  process_key_ = FreeKey::OfProcess(SlotOf(id));
  data_begin_ = PageTable<Config>::OffsetOf(root.first_page_);
  data_end_ = PageTable<Config>::OffsetOf(root.page_count_);
  data_bytes_ = data_end_ - data_begin_;
  seen_pressure_ = root.pressure_.load(std::memory_order_relaxed);  // relaxed: a hint
  max_idle_pages_ = std::min(kMaxIdlePages, process->thread_unit_pages() / 4);
  for (uint32_t slot = Config::kFirstMixedSlot; slot < Config::kSlotCount; ++slot) {
    if (slot < Config::kFirstRunSlot) max_listed_[slot] = MaxListed(slot);
    ResetRoom(slot);
  }
  int error = notes_.Reserve(root.page_count_);
  if (error == 0) error = pending_.Reserve(root.page_count_);
  if (error != 0) throw NoNotes(root.page_count_ * Config::kPageBytes, error);
}

template <typename Config>
BuddyEngine ThreadHeap<Config>::Engine() noexcept {
  const RootHeader& root = process_->root().header();
  return BuddyEngine(process_->nodes(), &free_pages_, root.first_page_,
                     root.page_count_ - root.first_page_, static_cast<uint16_t>(index_ + 1),
                     process_->thread_unit_log2_);
}

// ---- allocate --------------------------------------------------------------------------------

template <typename Config>
Offset ThreadHeap<Config>::AllocateSlow(uint64_t size_bytes) noexcept {
  if (size_bytes <= Config::kMaxClassBytes) {
    const uint32_t size_class = ClassOf(size_bytes);
    const Offset block = this->Pop(size_class).offset_;  // nobody may have tried
    return HSHM_UNLIKELY(block != 0) ? block : AllocateClass(size_bytes);
  }
  if (size_bytes > data_bytes_) return 0;
  if (size_bytes > process_->process_unit_bytes()) return AllocateLarge(size_bytes, 1);
  return AllocateRun(static_cast<uint32_t>(bits::DivideUp(size_bytes, Config::kPageBytes)), 1);
}

template <typename Config>
Offset ThreadHeap<Config>::AllocateAligned(uint64_t size_bytes, uint64_t alignment) noexcept {
  if (alignment <= kDefaultAlignment) return Allocate(size_bytes);
  if (size_bytes > data_bytes_ || alignment > data_bytes_) return 0;
  const uint64_t rounded = bits::AlignUp(std::max<uint64_t>(size_bytes, 1), alignment);
  if (rounded <= Config::kMaxClassBytes) return Allocate(rounded);
  const uint64_t pages = bits::DivideUp(std::max<uint64_t>(size_bytes, 1), Config::kPageBytes);
  if (size_bytes > process_->process_unit_bytes()) return AllocateLarge(size_bytes, alignment);
  const uint64_t alignment_pages = std::max<uint64_t>(alignment / Config::kPageBytes, 1);
  return AllocateRun(static_cast<uint32_t>(pages), static_cast<uint32_t>(alignment_pages));
}

template <typename Config>
Offset ThreadHeap<Config>::AllocateClass(uint64_t size_bytes) noexcept {
  const uint32_t size_class = ClassOf(size_bytes);
  const uint64_t bytes = ClassBytes(size_class);
  const uint32_t pages = Config::PagesOf(bytes);
  BeginCall();
  // The slot's list is empty, whatever was written into its blocks.
  room_[size_class] = max_listed_[size_class];
  if (HSHM_UNLIKELY(pressure_->load(std::memory_order_relaxed) !=  // relaxed: a hint
                    seen_pressure_)) {
    AnswerPressure();
  }
  if (const uint32_t blocks = pending_.TakeBack(size_class); blocks != 0) {
    room_[size_class] -= blocks;
    return this->Pop(size_class).offset_;
  }
  bool filled = RefillFromOwned(size_class);
  if (!filled) {
    if (const Offset block = BorrowLonger(size_bytes); block != 0) return block;
  }
  for (Effort effort = Effort::kThread; !filled && effort != Effort::kEnd && !is_locked_out_;
       effort = Next(effort)) {
    if (IsWorthCollecting(effort)) {
      Collect(false);
      filled = RefillFromOwned(size_class);
      if (filled) break;
    }
    const uint32_t head = OpenPages(kKindClass, pages, 1, effort);
    filled = head != kNoPage ? StartClassPage(head, size_class) : RefillFromOwned(size_class);
  }
  if (filled) return this->Pop(size_class).offset_;
  // So many pages in a row are not to be had: a large block may still get pages of its own.
  return pages == 1 || is_locked_out_
             ? 0
             : AllocateRun(static_cast<uint32_t>(bits::DivideUp(bytes, Config::kPageBytes)), 1);
}

template <typename Config>
Offset ThreadHeap<Config>::AllocateRun(uint32_t pages, uint32_t alignment_pages) noexcept {
  BeginCall();
  if (alignment_pages == 1 && pages <= kMaxIdleRunPages) {
    const uint32_t most = bits::Min(pages + IdleSlack<Config>(pages), Config::kMaxSlotRunPages);
    for (uint32_t length = pages; length <= most; ++length) {
      if (const Offset block = this->PopRun(length).offset_; block != 0) return block;
    }
    if (const Offset block = AllocateIdleRun(pages); block != 0) return block;
  }
  for (Effort effort = Effort::kThread; effort != Effort::kEnd && !is_locked_out_;
       effort = Next(effort)) {
    // For many pages, those count of which free lists have the last blocks.
    if (effort == Effort::kCollect && pages > Config::kMaxSlotRunPages) TrimLists();
    if (IsWorthCollecting(effort)) Collect(false);
    const uint32_t head = OpenPages(kKindRun, pages, alignment_pages, effort);
    if (head == kNoPage) continue;
    PageEntry* entry = pages_.Entry(head);
    entry->shape_.Set(MakeShape(kKindRun, Config::RunSlot(pages)));
    pages_.SetKeys(head, id_);
    entry->carved_.Set(1);  // commit: used_ is 1 already, so the block is somebody's from here on
    pages_.GiveRun(PageTable<Config>::OffsetOf(head));
    List(head, kRuns);
    return PageTable<Config>::OffsetOf(head);
  }
  return 0;
}

template <typename Config>
Offset ThreadHeap<Config>::AllocateLarge(uint64_t size_bytes, uint64_t alignment) noexcept {
  const Offset block = process_->AllocateLarge(size_bytes, alignment, &is_zero_);
  if (block != 0) return block;
  is_zero_ = false;
  // The root has no such run; pages of sleepers may make one.
  const uint64_t pages = bits::DivideUp(size_bytes, Config::kPageBytes);
  return AllocateRun(static_cast<uint32_t>(pages),
                     static_cast<uint32_t>(std::max<uint64_t>(alignment / Config::kPageBytes, 1)));
}

/** There was no memory for all of its blocks: a page that has no room, and may get some. */
template <typename Config>
bool ThreadHeap<Config>::IsCutShort(const PageEntry* entry, uint32_t size_class) const noexcept {
  return entry->owner_.Get() == id_ &&
         entry->carved_.Get() < kClassLimits<Config>[size_class].capacity_;
}

template <typename Config>
bool ThreadHeap<Config>::RefillFromOwned(uint32_t size_class) noexcept {
  ++refills_since_flush_;
  PageEntry* const former = in_hand_[size_class];
  const bool filled = RefillInTurn(size_class);
  if (former != nullptr && former != in_hand_[size_class] && former->used_.Get() == 0) {
    Visit(static_cast<uint32_t>(former - pages_.Entry(0)), false);
  }
  return filled;
}

template <typename Config>
bool ThreadHeap<Config>::RefillInTurn(uint32_t size_class) noexcept {
  const SlowPath lock(*this);
  if (HSHM_UNLIKELY(!lock.IsHeld())) return false;
  // In turn, so that each page gathers frees until it is met again: long lists make few refills.
  PageList& roomy = ListOf(kRoomy + size_class);
  const bool is_narrow = size_class < Config::kFirstWideSlot;
  while (!roomy.IsEmpty()) {
    const uint32_t page = is_narrow ? roomy.Next(notes_.data()) : FullestOf(&roomy);
    if (HSHM_LIKELY(FillFrom(page, size_class))) return true;
  }
  PageList& full = ListOf(kFull + size_class);
  for (uint32_t i = 0; i < kPolledPages && i < full.size(); ++i) {
    const uint32_t page = full.Next(notes_.data());
    const PageEntry* entry = pages_.Entry(page);
    if (PageTable<Config>::Pending(entry) != 0 || IsCutShort(entry, size_class)) {
      return FillFrom(page, size_class);
    }
  }
  return false;
}

/** A flush is paid for by the refills since the last one: a rank that asks again and again in vain
 * must not make the others do nothing else. */
template <typename Config>
void ThreadHeap<Config>::AnswerPressure() noexcept {
  if (refills_since_flush_ <= owned_spans_ / 16) return;
  refills_since_flush_ = 0;
  seen_pressure_ = pressure_->load(std::memory_order_relaxed);  // relaxed: a hint
  Flush();
}

/** Lock held. When the page has nothing left it goes to the list where it belongs. */
template <typename Config>
bool ThreadHeap<Config>::FillFrom(uint32_t page, uint32_t size_class) noexcept {
  PageEntry* entry = pages_.Entry(page);
  uint32_t list = kGone;
  if (entry->owner_.Get() == id_) {
    if (entry->local_.Get() == 0) pages_.Drain(page);
    // A class that is asked for again and again gets a list that lasts, a few blocks at a time.
    const uint32_t carved = entry->carved_.Get();
    const bool is_new = carved == 0;  // used_ is 1, for no block
    const ClassLimits limits = kClassLimits<Config>[size_class];
    if (carved < limits.capacity_ &&
        (entry->local_.Get() == 0 ||
         (size_class < Config::kFirstWideSlot &&
          carved - PageTable<Config>::Used(entry) < limits.short_list_))) {
      CarveMore(page, size_class);
    }
    if (HSHM_LIKELY(entry->local_.Get() != 0)) {
      PageEntry*& in_hand = in_hand_[size_class];
      if (in_hand != entry) {
        if (in_hand != nullptr) PutDown(in_hand, size_class);
        pages_.TakeInHand(entry);
        in_hand = entry;
      }
      if (is_new) entry->used_.Set(1);
      this->TakeLocal(entry, size_class);
      if (notes_[page].list_ != kRoomy + size_class) {
        Unlist(page);
        List(page, kRoomy + size_class);
      }
      return true;
    }
    list = kFull + size_class;
  }
  Unlist(page);
  List(page, list);
  return false;
}

/** Lock held. Frees into it did not look at its list while it was in hand. */
template <typename Config>
void ThreadHeap<Config>::PutDown(PageEntry* entry, uint32_t size_class) noexcept {
  pages_.PutDown(entry);
  ListRoom(static_cast<uint32_t>(entry - pages_.Entry(0)), size_class);
}

/** The list of a page that was in hand has changed without a look at where the page is listed. */
template <typename Config>
void ThreadHeap<Config>::ListRoom(uint32_t page, uint32_t size_class) noexcept {
  if (notes_[page].list_ == kFull + size_class && pages_.Entry(page)->local_.Get() != 0) {
    Unlist(page);
    List(page, kRoomy + size_class);
  }
}

template <typename Config>
bool ThreadHeap<Config>::StartClassPage(uint32_t head, uint32_t size_class) noexcept {
  // used_ is 1, which keeps takers away. Listed first: without the lock a later refill finds it.
  PageEntry* entry = pages_.Entry(head);
  entry->shape_.Set(MakeShape(kKindClass, size_class));
  pages_.SetKeys(head, id_);
  List(head, kRoomy + size_class);
  HSHM_ASSERT(record_->free_[size_class].Get() == 0);
  const SlowPath lock(*this);
  return lock.IsHeld() && FillFrom(head, size_class);
}

// ---- free ------------------------------------------------------------------------------------

template <typename Config>
void ThreadHeap<Config>::FreeRest(Offset block, Freed freed) noexcept {
  if (freed == Freed::kOthers && TryFreeToRun(block)) return;
  if (freed != Freed::kPageWaits) freed = FreeFar(block);
  if (freed == Freed::kPageWaits) FinishFree(block);
}

template <typename Config>
typename ThreadHeap<Config>::Freed ThreadHeap<Config>::TryFreeAnywhere(Offset block) noexcept {
  const Freed freed = this->TryFree(block);
  if (freed == Freed::kDone || freed == Freed::kPageWaits) return freed;
  return freed == Freed::kOthers && TryFreeToRun(block) ? Freed::kDone : FreeFar(block);
}

template <typename Config>
typename ThreadHeap<Config>::Freed ThreadHeap<Config>::FreeFar(Offset block) noexcept {
  if (HSHM_UNLIKELY(block == 0)) defect::NullFree("FreeOffset");
  CheckPlace("Free", block);
  const uint32_t page = PageTable<Config>::PageOf(block);
  if (pages_.Entry(page)->owner_.Get() != id_ && pending_.Begin(block)) return Freed::kDone;
  if (pages_.Entry(pages_.HeadOf(page))->owner_.Get() == id_) {
    // It was somebody else's front that has said no.
    if (const Freed freed = this->TryFree(block); freed != Freed::kOthers) return freed;
    pages_.RequireLive("Free", block);  // says more, in Checked
    defect::InvalidFree("Free", block);
  }
  process_->FreeRemote(block);
  return Freed::kDone;
}

template <typename Config>
void ThreadHeap<Config>::FinishFree(Offset block) noexcept {
  BeginCall();
  const uint32_t page = pages_.HeadOf(PageTable<Config>::PageOf(block));
  const PageEntry* entry = pages_.Entry(page);
  if (IsListTooLong(entry)) {
    const uint32_t slot = ClassOfShape(entry->shape_.Get());
    if (slot >= Config::kFirstRunSlot) return MakeRoomForRuns(slot);
    return TrimList(slot, (max_listed_[slot] + 1) / 2);
  }
  FinishPage(page);
}

template <typename Config>
void ThreadHeap<Config>::FinishPage(uint32_t page) noexcept {
  if (pages_.Entry(page)->used_.Get() == 0) {
    if (!KeepIdle(page)) Visit(page, false);
    return;
  }
  const uint32_t list = notes_[page].list_;
  if (list >= kFull && list < kIdle) {  // it has room again
    Unlist(page);
    List(page, list - Config::kClassCount);
  }
}

template <typename Config>
void ThreadHeap<Config>::Visit(uint32_t page, bool all) noexcept {
  uint32_t freed = 0;
  {
    const SlowPath lock(*this);
    if (!lock.IsHeld()) return;
    PageEntry* entry = pages_.Entry(page);
    const uint32_t list = notes_[page].list_;
    if (entry->owner_.Get() != id_) {
      if (list != 0 && list != kGone) {
        Unlist(page);
        List(page, kGone);
      }
      return;
    }
    pages_.Drain(page);
    const bool is_last_of_class = list >= kRoomy && list < kFull && ListOf(list).size() == 1;
    if (entry->used_.Get() == 0 && (all || !is_last_of_class)) {
      if (list != 0) Unlist(page);
      freed = std::max(entry->span_.Get(), 1u);
      pages_.Retire(page);
      --owned_spans_;
    } else if (list >= kFull && list < kIdle && entry->local_.Get() != 0) {
      Unlist(page);
      List(page, list - Config::kClassCount);
    }
  }
  if (freed != 0) ReturnPages(page, freed);
}

// ---- housekeeping ----------------------------------------------------------------------------

template <typename Config>
bool ThreadHeap<Config>::IsWorthCollecting(Effort effort) const noexcept {
  // A visit of every page is paid for by the pages opened since the last one.
  if (effort == Effort::kCollect) return opened_spans_ >= 16 + owned_spans_ / 2;
  if (effort == Effort::kRoot) return opened_spans_ * 16 > owned_spans_;
  return false;
}

template <typename Config>
bool ThreadHeap<Config>::PostPending() noexcept {
  const SlowPath lock(*this);
  if (lock.IsHeld()) pending_.PostAll();
  return lock.IsHeld();
}

template <typename Config>
void ThreadHeap<Config>::Collect(bool all) noexcept {
  opened_spans_ = 0;
  if (!PostPending()) return;  // nor is a visit any use
  if (all) TrimLists();
  const auto visit = [&](uint32_t page) {
    const PageEntry* entry = pages_.Entry(page);
    if (entry->owner_.Get() != id_ || entry->used_.Get() == 0 ||
        PageTable<Config>::Pending(entry) != 0) {
      Visit(page, all);
    }
  };
  ListOf(kRuns).ForEach(notes_.data(), visit);
  for (uint32_t list = kIdle; idle_pages_ != 0 && list < kListEnd; ++list) {
    ListOf(list).ForEach(notes_.data(), visit);
  }
  for (uint32_t c = 0; c < Config::kClassCount; ++c) {
    ListOf(kRoomy + c).ForEach(notes_.data(), visit);
    ListOf(kFull + c).ForEach(notes_.data(), [&](uint32_t page) {
      visit(page);
      if (!all || notes_[page].list_ != kFull + c || !IsCutShort(pages_.Entry(page), c)) return;
      Unlist(page);
      List(page, kRoomy + c);
    });
  }
  FlushGone();
}

template <typename Config>
void ThreadHeap<Config>::FlushGone() noexcept {
  ListOf(kGone).ForEach(notes_.data(), [&](uint32_t page) {
    Unlist(page);
    --owned_spans_;
    process_->ReturnPages(this, page, std::max(notes_[page].span_, 1u));
  });
}

template <typename Config>
void ThreadHeap<Config>::Flush() noexcept {
  SettleAll();
  Collect(true);
  process_->TakeUnitsOf(this);
}

template <typename Config>
void ThreadHeap<Config>::Adopt(uint32_t page) noexcept {
  const PageEntry* entry = pages_.Entry(page);
  const uint32_t shape = entry->shape_.Get();
  const uint32_t span = std::max(entry->span_.Get(), 1u);
  process_->DropFromHand(index_ + 1, page + span, NoteOwned(page, span));
  pages_.SetKeys(page, id_);
  const bool is_class = KindOf(shape) == kKindClass;
  List(page, is_class ? kRoomy + ClassOfShape(shape) : static_cast<uint32_t>(kRuns));
}

/** It may have been ours before, and still stand in a list: somebody took it since. */
template <typename Config>
uint32_t ThreadHeap<Config>::NoteOwned(uint32_t page, uint32_t span) noexcept {
  const bool is_listed = notes_[page].list_ != 0;
  const uint32_t former = is_listed ? notes_[page].span_ : span;
  if (!is_listed) ++owned_spans_;
  Unlist(page);
  notes_[page].span_ = span;
  return former > span ? former - span : 0;
}

template <typename Config>
void ThreadHeap<Config>::Unlist(uint32_t page) noexcept {
  const uint32_t list = notes_[page].list_;
  if (list == 0) return;
  ListOf(list).Remove(notes_.data(), page);
  if (list == kRuns) run_pages_ -= notes_[page].span_;
  if (list < kIdle) return;
  idle_pages_ -= list - kIdle;
  if (ListOf(list).IsEmpty()) idle_lengths_ &= ~(1u << (list - kIdle));
}

template <typename Config>
HeapRecord<Config> HeapFront<Config>::no_record_;
template <typename Config>
HeapFront<Config> HeapFront<Config>::nobody_;

template class HeapFront<LargePages>;
template class HeapFront<SmallPages>;
template class HeapFront<CheckedLargePages>;
template class HeapFront<CheckedSmallPages>;
template class ThreadHeap<LargePages>;
template class ThreadHeap<SmallPages>;
template class ThreadHeap<CheckedLargePages>;
template class ThreadHeap<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
